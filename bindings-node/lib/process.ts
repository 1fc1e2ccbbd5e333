/** A running remote process. Lives here: its life, from the first wake-up to the exit status. */

import { Channel, type NativeProcess } from '../native/index.js';
import { AbortError, WsxError, fromNative } from './errors.js';
import type { AttachOptions, TerminalSize } from './options.js';
import { Input, Output, type Session } from './streams.js';

/** How a command ended. A code other than 0 is a result, not an error. */
export interface ExitStatus {
  /** The command's own code. */
  readonly code: number;
  /**
   * How sure a code of 0 is: `confirmed` (the protocol cannot say it by mistake), `checked` (the
   * node was asked afterwards) or `unchecked`.
   */
  readonly confidence: 'checked' | 'confirmed' | 'unchecked';
}

/** What `followResize` needs of a `tty.WriteStream`. */
export interface TerminalLike extends TerminalSize {
  on(event: 'resize', listener: () => void): unknown;
  off(event: 'resize', listener: () => void): unknown;
}

/** A running remote process. There is no way to stop it from here: it sees the end of its input. */
export class Process implements AsyncDisposable {
  /** Its input, where `stdin: true` was asked for. `end()` ends it; `destroy()` closes the session. */
  readonly stdin: Input | null;
  /** Its output; leaving it before its end closes the session, `resume()` throws it away. */
  readonly stdout: Output | null;
  /** Its error output, likewise; on a terminal it arrives on `stdout`. */
  readonly stderr: Output | null;
  readonly #life: Life;

  /** @internal */
  constructor(native: NativeProcess, options: AttachOptions, running: Set<(why: Error) => void>) {
    this.#life = new Life(native, options.signal, running);
    const wanted = (asked: boolean | undefined): boolean => asked !== false;
    this.stdin = options.stdin ? new Input(this.#life) : null;
    this.stdout = wanted(options.stdout) ? new Output(this.#life, Channel.Stdout) : null;
    this.stderr =
      wanted(options.stderr) && !native.hasTerminal ? new Output(this.#life, Channel.Stderr) : null;
    this.#life.begin([this.stdin, this.stdout, this.stderr]);
  }

  /**
   * Its exit status, once. Rejected with a `WsxError` when there is none (`lost`, `protocol`,
   * `timeout`, `closed`, `not_started`: the outcome is not known or nothing ran) and with an
   * `AbortError` when it was aborted. Nobody has to look at it.
   */
  get exit(): Promise<ExitStatus> {
    return this.#life.watched();
  }

  /** Its exit status, where it is known already. */
  get status(): ExitStatus | null {
    return this.#life.status;
  }

  /** Its exit code, where it is known already. */
  get exitCode(): number | null {
    return this.#life.status?.code ?? null;
  }

  /** The subprotocol that was agreed with the server, such as `v5.channel.k8s.io`. */
  get protocol(): string {
    return this.#life.native.protocol;
  }

  /** Whether the remote process has a terminal: its error output then arrives on `stdout`. */
  get hasTerminal(): boolean {
    return this.#life.native.hasTerminal;
  }

  /** Says the terminal's new size; of several that wait only the last is sent. */
  resize(size: TerminalSize): void {
    try {
      this.#life.native.resize({ columns: size?.columns, rows: size?.rows });
    } catch (error) {
      throw fromNative(error);
    }
  }

  /** Says the size of this terminal, now and whenever it changes, until the end or `dispose`. */
  followResize(terminal: TerminalLike): Disposable {
    const tell = (): void => this.resize(terminal);
    tell();
    terminal.on('resize', tell);
    const stop = (): void => void terminal.off('resize', tell);
    this.#life.after(stop);
    return { [Symbol.dispose]: stop };
  }

  /** Closes the session at once; `exit` and the streams fail with an `AbortError`. */
  abort(reason?: unknown): void {
    this.#life.end(new AbortError(reason));
  }

  /** Closes the session, where it is still open, and waits until the connection is gone. */
  async close(): Promise<void> {
    this.#life.end(new WsxError('closed', 'the session was closed', { mayHaveStarted: true }));
    await this.#life.watched().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * What the parts of a process share. The native half calls back when something has changed; until
 * the exit is known it keeps all of this alive, afterwards only its users do.
 */
class Life implements Session {
  readonly native: NativeProcess;
  status: ExitStatus | null = null;
  readonly #signal: AbortSignal | undefined;
  readonly #running: Set<(why: Error) => void>;
  readonly #exit: Promise<ExitStatus>;
  #settle!: { resolve(status: ExitStatus): void; reject(why: Error): void };
  #streams: Array<Input | Output | null> = [];
  /** Who waits for a change, and whether that keeps the program alive. */
  readonly #waiting = new Map<unknown, { wake: () => void; unpin: () => void }>();
  #after: Array<(failure: Error | null) => void> | null = [];
  #failure: Error | null = null;
  /** Why it was ended from here. */
  #ended: Error | null = null;
  #watched = false;

  constructor(
    native: NativeProcess,
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

  begin(streams: Array<Input | Output | null>): void {
    this.#streams = streams;
    const weak = new WeakRef<Life>(this);
    const strong: { life: Life | null } = { life: this };
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

  watched(): Promise<ExitStatus> {
    if (!this.#watched) {
      this.#watched = true;
      this.after(() => {}, true);
    }
    return this.#exit;
  }

  wait(key: unknown, wake: () => void, pinned: boolean): void {
    this.#waiting.get(key)?.unpin();
    this.#waiting.set(key, { wake, unpin: pinned ? pin() : () => {} });
  }

  forget(key: unknown): void {
    this.#waiting.get(key)?.unpin();
    this.#waiting.delete(key);
  }

  after(then: (failure: Error | null) => void, pinned = false): void {
    if (!this.#after) return then(this.#failure);
    const unpin = pinned ? pin() : () => {};
    this.#after.push((failure) => {
      unpin();
      then(failure);
    });
  }

  /** Ends the session from here; what was known before stays. */
  readonly end = (why: Error): void => {
    if (this.#ended || !this.#after) return;
    this.#ended = why;
    this.native.close();
    for (const stream of this.#streams) stream?.leave(why);
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
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  #ask(): void {
    try {
      const status = this.native.status();
      if (status === null) this.wait(this, () => this.#ask(), false);
      else this.#known(status as ExitStatus, null);
    } catch (error) {
      this.#known(null, this.#ended ?? fromNative(error));
    }
  }

  #known(status: ExitStatus | null, failure: Error | null): void {
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

let pins = 0;
const pinned = setInterval(() => {}, 2 ** 31 - 1).unref();

/** Keeps the program alive until the returned function is called. */
function pin(): () => void {
  if (pins++ === 0) pinned.ref();
  let held = true;
  return () => {
    if (held && --pins === 0) pinned.unref();
    held = false;
  };
}
