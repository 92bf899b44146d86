/** @internal What plain JavaScript gives as options, where no compiler has looked. */

import { wrongType } from './errors';

/** @internal The options, if they are an object, and have no names but these if any are given. */
export function checked<T extends object>(whose: string, options: T, names?: readonly string[]): T {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    const given = JSON.stringify(options) ?? String(options);
    throw wrongType(`the options of ${whose} are an object, { name: value }, not ${given}`);
  }
  for (const name of Object.keys(options)) {
    if (names !== undefined && !names.includes(name)) {
      throw wrongType(`${whose} has no option '${name}'; there are ${names.join(', ')}`);
    }
  }
  return options;
}

/** @internal Options as the native module reads them. JSON has no word for a number that is none, and would leave it out. */
export function written(options: unknown): string {
  return JSON.stringify(options, (name, value) => {
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw wrongType(`${name} is a number, not ${value}`);
    }
    return value;
  });
}
