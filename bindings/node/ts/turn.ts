/** How long listeners take in one turn of the event loop before others have theirs. */
const TURN_MS = 3;

let began: number | undefined;

/** @internal Whether the listeners of all builds have taken their time of this turn. */
export function isOver(): boolean {
  if (began === undefined) {
    began = performance.now();
    setImmediate(() => (began = undefined));
    return false;
  }
  return performance.now() - began > TURN_MS;
}

/** @internal Waits for a turn with time left. */
export async function nextTurn(): Promise<void> {
  do {
    await new Promise<void>((resolve) => setImmediate(resolve));
  } while (isOver());
}
