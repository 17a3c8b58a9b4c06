// Options of extensions are "<extension>.<option>" among a form's values and nested in a request's `extensions`.

/** A form's values as a request has them; options at their defaults are left out, so an extension that does nothing is too. */
export function nested(values, fields) {
  const request = {};
  for (const [name, value] of Object.entries(values)) {
    const [extension, option] = name.split(".");
    if (option === undefined) request[name] = value;
    else if (value !== fields[name]?.default) ((request.extensions ??= {})[extension] ??= {})[option] = value;
  }
  return request;
}

/** The other way round. */
export function flat({ extensions = {}, ...values }) {
  const options = Object.entries(extensions).flatMap(([extension, named]) =>
    Object.entries(named).map(([option, value]) => [`${extension}.${option}`, value]),
  );
  return { ...values, ...Object.fromEntries(options) };
}
