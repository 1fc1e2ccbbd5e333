/** What the parts of a running thing share. Lives here: from the first wake-up to how it ended. */

import { AbortError, WsxError, fromNative } from './errors.js';

/** What streams need of the running thing that they belong to. */
export interface Session {
  /** Whether a failure needs no telling: somebody looks at the end, or it was ended from here. */
  readonly told: boolean;
  /** Has `wake` called once, when something has changed; while `pinned`, the program does not end. */
  wait(key: unknown, wake: () => void, pinned: boolean): void;
  /** Takes that back. */
  forget(key: unknown): void;
  /** Calls when the end is known, with what went wrong instead. */
  after(then: (failure: Error | null) => void, pinned?: boolean): void;
  /** Closes the session because a stream was left. */
  close(): void;
}

/** A native half: a bell to listen to, and an end to ask for. */
interface Native {
  listen(callback: () => void): void;
  heard(): void;
  close(): void;
  /** Nothing while it runs; the bell rings when that may have changed. Throws why there is no end. */
  status(): object | null;
}

/** A stream that fails when the session is ended from here. */
interface Leaver {
  leave(why: Error): void;
}

/**
 * What the parts of a running thing share. The native half calls back when something has changed; until
 * the end is known it keeps all of this alive, afterwards only its users do.
 */
export class Life<Half extends Native, Status> implements Session {
  readonly native: Half;
  status: Status | null = null;
  readonly #signal: AbortSignal | undefined;
  readonly #running: Set<(why: Error) => void>;
  readonly #exit: Promise<Status>;
  #settle!: { resolve(status: Status): void; reject(why: Error): void };
  #streams: Array<Leaver | null> = [];
  /** Who waits for a change, and whether that keeps the program alive. */
  readonly #waiting = new Map<unknown, { wake: () => void; unpin: () => void }>();
  #after: Array<(failure: Error | null) => void> | null = [];
  #failure: Error | null = null;
  /** Why it was ended from here. */
  #ended: Error | null = null;
  #watched = false;

  constructor(
    native: Half,
    signal: AbortSignal | undefined,
    running: Set<(why: Error) => void>,
  ) {
    this.native = native;
    this.#signal = signal;
    this.#running = running;
    this.#exit = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Nobody has to look at it.
    this.#exit.catch(() => {});
  }

  begin(streams: Array<Leaver | null>): void {
    this.#streams = streams;
    const weak = new WeakRef<Life<Half, Status>>(this);
    const strong: { life: Life<Half, Status> | null } = { life: this };
    this.native.listen(() => {
      const life = strong.life ?? weak.deref();
      if (life) life.#wake();
    });
    this.after(() => {
      strong.life = null;
    });
    this.#running.add(this.end);
    this.#signal?.addEventListener('abort', this.#abort, { once: true });
    this.#ask();
    // It may have been aborted while the answer was on its way.
    if (this.#signal?.aborted) this.#abort();
  }

  get told(): boolean {
    return this.#watched || this.#ended !== null;
  }

  watched(): Promise<Status> {
    if (!this.#watched) {
      this.#watched = true;
      this.after(() => {}, true);
    }
    return this.#exit;
  }

  wait(key: unknown, wake: () => void, pinned: boolean): void {
    this.#waiting.get(key)?.unpin();
    this.#waiting.set(key, { wake, unpin: pinned ? pin(this) : () => {} });
  }

  forget(key: unknown): void {
    this.#waiting.get(key)?.unpin();
    this.#waiting.delete(key);
  }

  after(then: (failure: Error | null) => void, pinned = false): void {
    if (!this.#after) return then(this.#failure);
    const unpin = pinned ? pin(this) : () => {};
    this.#after.push((failure) => {
      unpin();
      then(failure);
    });
  }

  /** Ends the session from here; what was known before stays. */
  readonly end = (why: Error): void => {
    if (this.#ended || !this.#after) return;
    this.#ended = why;
    for (const stream of this.#streams) stream?.leave(why);
    this.native.close();
  };

  close(): void {
    this.end(new WsxError('closed', 'a stream was left before its end', { mayHaveStarted: true }));
  }

  readonly #abort = (): void => this.end(new AbortError(this.#signal?.reason));

  #wake(): void {
    this.native.heard();
    for (const [key, { wake, unpin }] of [...this.#waiting]) {
      this.#waiting.delete(key);
      unpin();
      try {
        wake();
      } catch (error) {
        // A listener of one stream has thrown: that must not silence the others.
        thrown(error);
      }
    }
  }

  #ask(): void {
    try {
      const status = this.native.status();
      if (status === null) this.wait(this, () => this.#ask(), false);
      else this.#known(status as Status, null);
    } catch (error) {
      this.#known(null, this.#ended ?? fromNative(error));
    }
  }

  #known(status: Status | null, failure: Error | null): void {
    this.status = status;
    this.#failure = failure;
    if (status) this.#settle.resolve(status);
    else this.#settle.reject(failure as Error);
    this.#running.delete(this.end);
    this.#signal?.removeEventListener('abort', this.#abort);
    const after = this.#after ?? [];
    this.#after = null;
    for (const then of after) then(failure);
  }
}

/** Lets what a listener has thrown end the program, or reach its handler, but nothing of ours. */
export function thrown(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

const pinned = setInterval(() => {}, 2 ** 31 - 1).unref();
/** What is waited for, each with who waits. */
const pins = new Map<object, unknown>();

/** Keeps the program alive, and who waits, until the returned function is called. */
export function pin(owner: unknown): () => void {
  const key = {};
  pins.set(key, owner);
  pinned.ref();
  return () => {
    pins.delete(key);
    if (pins.size === 0) pinned.unref();
  };
}
