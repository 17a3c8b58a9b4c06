// Options of extensions are "<extension>.<option>" among a form's values and nested in a request's `extensions`.

/**
 * A form's values as a request has them. Options at their defaults are left out, so an extension that does nothing is too;
 * and those that the page does not know, left from when their extension was here.
 */
export function nested(values, fields) {
  const request = {};
  for (const [name, value] of Object.entries(values)) {
    const [extension, option] = name.split(".");
    if (option === undefined) request[name] = value;
    else if (fields[name] && value !== fields[name].default) ((request.extensions ??= {})[extension] ??= {})[option] = value;
  }
  return request;
}

/** The other way round. Where a request tells of extensions at all, options that it does not name are at their defaults. */
export function flat({ extensions, ...values }, fields) {
  if (!extensions) return values;
  const options = Object.keys(fields).filter((name) => name.includes(".")).map((name) => {
    const [extension, option] = name.split(".");
    return [name, extensions[extension]?.[option] ?? fields[name].default];
  });
  return { ...values, ...Object.fromEntries(options) };
}
