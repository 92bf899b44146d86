import { EventEmitter } from 'node:events';

import { made } from './errors';
import { type Event, readEvent } from './events';
import { Image } from './image';
import type { NativeBuild } from './native';
import { isOver, nextTurn } from './turn';

/**
 * A build that was started: await `wait()`, iterate over its events, or listen to them by `event`
 * or by their kind. Events are kept until somebody first listens or iterates.
 */
export class Build extends EventEmitter implements AsyncIterable<Event> {
  readonly #native: NativeBuild;
  readonly #result: Promise<Image>;
  readonly #queue: Event[] = [];
  #wanted: (() => void) | undefined;
  #pump: Promise<void> | undefined;
  #iterated = false;
  #left = false;
  #pumped = false;
  #fault: { error: unknown } | undefined;

  /** @internal */
  constructor(native: NativeBuild, signal: AbortSignal | undefined) {
    super();
    this.#native = native;
    const abort = () => this.cancel();
    if (signal?.aborted) {
      abort();
    }
    signal?.addEventListener('abort', abort, { once: true });
    this.#result = this.#settle(signal).finally(() => signal?.removeEventListener('abort', abort));
    // Who does not wait is not told: a rejection that nobody handles would end the process.
    this.#result.catch(() => undefined);
    this.on('newListener', (name) => {
      if (name !== 'newListener' && name !== 'removeListener') {
        this.#read();
      }
    });
  }

  async #settle(signal: AbortSignal | undefined): Promise<Image> {
    try {
      const native = await this.#native.result();
      await this.#pump;
      if (this.#fault === undefined) {
        return new Image(native);
      }
    } catch (thrown) {
      await this.#pump;
      if (this.#fault === undefined) {
        throw made(thrown, signal?.aborted ? { cause: signal.reason } : undefined);
      }
    }
    throw this.#fault.error;
  }

  /** Stops the build: running steps are killed, what was finished stays cached. */
  cancel(): void {
    this.#native.cancel();
  }

  /** Returns the image, when it is built and its listeners have had all events. */
  wait(): Promise<Image> {
    return this.#result;
  }

  #read(): void {
    this.#pump ??= this.#tellAll();
  }

  async #tellAll(): Promise<void> {
    for (;;) {
      const texts = await this.#native.nextEvents();
      if (texts.length === 0) {
        break;
      }
      for (const text of texts) {
        if (isOver()) {
          await nextTurn();
        }
        this.#tell(readEvent(text));
      }
    }
    this.#pumped = true;
    this.#wanted?.();
  }

  #tell(event: Event): void {
    if (this.#iterated && !this.#left) {
      this.#queue.push(event);
      this.#wanted?.();
    }
    try {
      this.emit('event', event);
      this.emit(event.kind, event);
    } catch (error) {
      // A listener's fault stops the build, and is what `wait` rejects with.
      this.#fault ??= { error };
      this.cancel();
    }
  }

  /** Iterates over the events; once. Leaving the loop early leaves the build running. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Event, void, void> {
    if (this.#iterated) {
      throw new TypeError('the events of a build are iterated over once');
    }
    this.#iterated = true;
    this.#read();
    try {
      for (;;) {
        const event = this.#queue.shift();
        if (event !== undefined) {
          yield event;
        } else if (this.#pumped) {
          return;
        } else {
          await new Promise<void>((resolve) => (this.#wanted = resolve));
        }
      }
    } finally {
      this.#left = true;
      this.#queue.length = 0;
    }
  }
}
