// What one picture of a job was made with: the job's request with the picture's own seeds and words. Draws nothing.

import { originOf } from "./branch.js";

const SEEDS = 2 ** 32;

/** Values with which a form or a request makes this picture, alone or as the first of its job's batch. */
export function valuesOfPicture({ picture, job: { request } }) {
  if (!("seed" in request)) return { ...request };  // an enlargement has none
  const { variation_seed, variation_strength, branch_step } = request;
  const variation = variation_strength ? { variation_seed: (variation_seed + picture.number) % SEEDS } : {};
  // All pictures of a branch go on from the first one's seeds.
  const origin = branch_step ? { branch_from: originOf(request) } : {};
  return { ...request, ...picture.wording, seed: picture.seed, ...variation, ...origin };
}
