/** A running port-forward. Lives here: its ports, connections without a socket, events, end. */

import { EventEmitter } from 'node:events';

import type { NativeForward } from '../native/index.js';
import { bounded } from './bounded.js';
import { AbortError, WsxError, invalid } from './errors.js';
import { Events } from './events.js';
import { fold, known, type ForwardEvent, type ForwardEvents } from './forward-events.js';
import { ForwardSocket } from './forward-socket.js';
import { Life, pin, thrown } from './life.js';
import { checkOptions, checkPort, type PortForwardOptions } from './options.js';

/** A port that is listened on. */
export interface ForwardedPort {
  /** What was asked for: `pod/web-0`, `service/web`. */
  readonly target: string;
  /** The port of the pod. */
  readonly remote: number;
  /** The local port; 0 for a Unix socket. */
  readonly local: number;
  /** The local IP address, or the path of the Unix socket. */
  readonly address: string;
}

/** What a port-forward has done so far. */
export interface ForwardReport {
  /** Connections that came. */
  readonly connections: number;
  /** Those that are open now. */
  readonly active: number;
  /** Those that were reset. */
  readonly failed: number;
  /** Bytes that went to pods. */
  readonly sent: number;
  /** Bytes that came from pods and were taken. */
  readonly received: number;
  /** How often a lost session was replaced. */
  readonly reconnects: number;
  /** How connections travel, such as `SPDY/3.1+portforward.k8s.io`. */
  readonly protocol: string | null;
}

/**
 * A running port-forward. Lost sessions and pods are replaced; a connection that was cut is reset, never
 * ended as if it were whole, and the others live on. What happens is told by events of this emitter
 * (`event` is every one of them) and by `events()`.
 *
 * One that listens keeps the program alive until it is closed, like a `net.Server`; see `unref`.
 */
export class PortForward extends EventEmitter<ForwardEvents> implements AsyncDisposable {
  readonly #life: Life<NativeForward, never>;
  readonly #asked: readonly string[];
  readonly #ports: readonly ForwardedPort[];
  readonly #events = new Events<ForwardEvent>('this port-forward', fold);
  /** What ends the connections that are open, or being opened. */
  readonly #connections = new Set<(why: Error) => void>();
  /** Why it was ended from here. */
  #left: Error | null = null;
  #telling = false;
  #unpin: (() => void) | null = null;
  #over = false;

  /** @internal */
  constructor(
    native: NativeForward,
    asked: readonly string[],
    options: PortForwardOptions,
    running: Set<(why: Error) => void>,
  ) {
    super();
    this.#life = new Life(native, options.signal, running);
    this.#asked = asked;
    this.#ports = Object.freeze(native.localPorts().map((port) => Object.freeze(port)));
    // Nothing is taken, and made objects of, before somebody wants it.
    (this as EventEmitter).on('newListener', () => this.#tell());
    if (this.#ports.length > 0) this.ref();
    this.#life.after(() => {
      this.#over = true;
      this.unref();
    });
    this.#life.begin([{ leave: (why) => this.#leave(why) }]);
  }

  /** What is listened on: a record for each address. */
  get localPorts(): readonly ForwardedPort[] {
    return this.#ports;
  }

  /**
   * Opens a connection without a local socket, to one of the ports that were asked for: by its number or
   * as it was written then. It may be left out where there is only one.
   *
   * It is a `Duplex` that HTTP takes for a socket (`createConnection`). A port that the pod refuses shows
   * when it is read: `not_started`.
   *
   * @throws {WsxError} `invalid` for another port, `not_started` when there is no session for as long as
   * is held, `closed` when the port-forward is.
   * @throws {AbortError} when the signal was aborted; the same signal resets the connection later on.
   */
  async open(port?: number | string, options: { signal?: AbortSignal } = {}): Promise<ForwardSocket> {
    checkOptions('open', options);
    const remote = this.#remote(port);
    if (this.#left) throw this.#left;
    const native = await bounded(
      options.signal,
      this.#connections,
      (cancel) => this.#life.native.open(remote, cancel),
      (late) => late.leave(),
    );
    return new ForwardSocket(native, options.signal, this.#connections);
  }

  /**
   * Iterates over what happens, from the beginning where nobody has listened before. Ends with the
   * port-forward, and tells nothing of how it ended.
   *
   * At most 1,000 wait for being taken; a `missed` counts those that are left out.
   */
  events(): AsyncIterableIterator<ForwardEvent> {
    let unpin = (): void => {};
    const iterator = this.#events.open(() => unpin());
    unpin = pin(this);
    this.#life.after(unpin);
    this.#tell();
    return iterator;
  }

  /**
   * Waits for the end: nothing after `close()`. Rejected with a `WsxError` that ended it for good (`lost`,
   * `not_started`, `forbidden` …), and with an `AbortError` when it was aborted. Nobody has to.
   */
  async wait(): Promise<void> {
    try {
      await this.#life.watched();
    } catch (error) {
      if ((error as WsxError).code !== 'closed') throw error;
    }
  }

  /** Tells what was done so far. */
  report(): ForwardReport {
    return this.#life.native.report() as ForwardReport;
  }

  /** Keeps the program alive, until it is closed; so it is from the beginning where it listens. */
  ref(): this {
    if (!this.#over) this.#unpin ??= pin(this);
    return this;
  }

  /** Lets the program end though it listens. */
  unref(): this {
    this.#unpin?.();
    this.#unpin = null;
    return this;
  }

  /** Ends it at once: `wait()` and its connections fail with an `AbortError`. */
  abort(reason?: unknown): void {
    this.#life.end(new AbortError(reason));
  }

  /** Ends it: its local ports are free, its connections reset when this returns. */
  async close(): Promise<void> {
    this.#life.end(new WsxError('closed', 'the port-forward was closed'));
    await this.#life.watched().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #remote(port: number | string | undefined): string {
    if (port !== undefined) {
      checkPort(port);
      return String(port);
    }
    const [asked, ...others] = this.#asked as [string, ...string[]];
    if (others.length > 0) throw invalid(`which port: ${this.#asked.join(', ')}?`);
    return asked.slice(asked.indexOf(':') + 1);
  }

  #leave(why: Error): void {
    this.#left = why;
    for (const end of [...this.#connections]) end(why);
  }

  /** Begins to take events. */
  #tell(): void {
    if (this.#telling) return;
    this.#telling = true;
    // Who listens now is told what comes, and so is who begins to in the same breath.
    queueMicrotask(() => this.#take());
  }

  #take(): void {
    for (;;) {
      const events = this.#life.native.events();
      if (events === null) return this.#events.end();
      if (events.length === 0) break;
      for (const event of events) this.#emit(known(event));
    }
    this.#life.wait(this.#events, () => this.#take(), false);
  }

  #emit(event: ForwardEvent): void {
    this.#events.push(event);
    const emitter = this as EventEmitter;
    for (const name of [event.kind, 'event']) {
      try {
        emitter.emit(name, event);
      } catch (error) {
        thrown(error);
      }
    }
  }
}
