import { awaiting } from './errors';
import { type Event, readEvent } from './events';
import { snaked } from './names';
import type { NativeTransfer } from './native';
import { checked, written } from './options';

/** What is told while images are on their way. */
export interface TransferOptions {
  /** Is called with what happens meanwhile: `progress` for the bytes of each layer. */
  onEvent?: (event: Event) => void;
}

/** @internal The options of a transfer: the listener, and the rest as the native module has it. */
export function split<T extends TransferOptions>(
  whose: string,
  options: T,
): [string, TransferOptions['onEvent']] {
  const { onEvent, ...rest } = checked(whose, options);
  return [written(snaked(rest)), onEvent];
}

/** @internal Waits for the end. What the function throws is thrown when the work has ended. */
export async function transferred(
  start: (isTold: boolean) => NativeTransfer,
  onEvent: TransferOptions['onEvent'],
): Promise<string | null> {
  const native = start(onEvent !== undefined);
  const result = awaiting(native.result());
  if (onEvent === undefined) {
    return result;
  }
  let fault: { error: unknown } | undefined;
  // It is awaited below.
  result.catch(() => undefined);
  for (;;) {
    const texts = await native.nextEvents();
    if (texts.length === 0) {
      break;
    }
    try {
      for (const text of fault === undefined ? texts : []) {
        onEvent(readEvent(text));
      }
    } catch (error) {
      fault = { error };
    }
  }
  const ended = await result;
  if (fault !== undefined) {
    throw fault.error;
  }
  return ended;
}
