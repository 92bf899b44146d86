/** @internal Names of fields, as the native module writes them and as JavaScript does. */

/** @internal `cacheMounts` as `cache_mounts`. */
export const snake = (name: string) =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** @internal Options with their names as the native module has them; keys of their values stay. */
export const snaked = (options: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [snake(name), value]));

/** @internal A document with each `cache_mounts` in it as `cacheMounts`. */
export function camelled(document: any): any {
  if (Array.isArray(document)) {
    return document.map(camelled);
  }
  if (document === null || typeof document !== 'object') {
    return document;
  }
  const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(
    Object.entries(document).map(([name, value]) => [camel(name), camelled(value)]),
  );
}
