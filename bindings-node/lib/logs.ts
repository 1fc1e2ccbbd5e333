/** A log being read. Lives here: the ways to read it, its end. Never here: resuming, which is the core's. */

import { EventEmitter } from 'node:events';
import type { Readable } from 'node:stream';

import type { NativeLogBatch, NativeLogs } from '../native/index.js';
import { AbortError, WsxError } from './errors.js';
import { Events } from './events.js';
import { Life, thrown } from './life.js';
import { fold, known, type LogEvent, type LogEvents, type LogSource } from './log-events.js';
import type { LogsOptions } from './options.js';
import type { Cursor } from './pulled.js';
import { Output } from './streams.js';

/** A line of a log, or a piece of one. */
export interface LogLine {
  /** The bytes as the container wrote them, with their line feed where the line ends here. */
  readonly data: Buffer;
  /** When the runtime read the line, in nanoseconds since 1970; `null` where it is not known. */
  readonly timestamp: bigint | null;
  /** Whether the line begins here. Lines over 1 MiB come in pieces. */
  readonly begins: boolean;
  /** Whose line it is. */
  readonly source: LogSource;
}

/** How a log ended where nothing failed. */
export interface LogEnd {
  /** `complete`: all that was asked for was there. `ended`: the container does not run any more. */
  readonly kind: 'complete' | 'ended';
  /** The exit code of the container that ended, where its pod tells it. */
  readonly exitCode: number | null;
}

/** What came from a log so far; some hundred KiB of it may still wait for their reader. */
export interface LogReport {
  /** Lines that began. */
  readonly lines: number;
  /** Bytes of lines. */
  readonly bytes: number;
  /** Gaps that were told. */
  readonly gaps: number;
  /** Connections that were lost and replaced by another one. */
  readonly reconnects: number;
  /** With `sortWindow`: lines that came too late for their place. */
  readonly late: number;
  /** How it travels: `http` or a subprotocol; `null` before the first answer. */
  readonly protocol: string | null;
}

/**
 * A log, or several, being read: by lines, batches or chunks, one of them. What happens to it is told
 * beside its lines, by events of this emitter (`event` is every one of them) and by `events()`, never
 * among them. A reader that is slow holds up the kubelet.
 */
export class Logs extends EventEmitter<LogEvents> implements AsyncIterable<Buffer>, AsyncDisposable {
  readonly #life: Life<NativeLogs, LogEnd>;
  readonly #output: Output;
  readonly #events = new Events<LogEvent>('this log', fold);

  /** @internal */
  constructor(native: NativeLogs, options: LogsOptions, running: Set<(why: Error) => void>) {
    super();
    this.#life = new Life(native, options.signal, running);
    this.#output = new Output(this.#life, {
      read: (target) => this.#after(() => native.read(target)),
      lines: (text) => this.#after(() => native.lines(text)),
      discard: () => native.close(),
    });
    this.#output.once('close', () => this.#events.end());
    this.#life.begin([this.#output]);
  }

  /** Iterates over lines as bytes: the same as `lines()`. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Buffer> {
    return this.lines();
  }

  /**
   * Iterates over lines, each with its line feed; only the last may have none. A line over 1 MiB comes
   * in pieces. `break` closes the connection. Fails as `end` does, after the last line that came.
   */
  lines(options?: { encoding?: undefined }): AsyncIterableIterator<Buffer>;
  lines(options: { encoding: BufferEncoding }): AsyncIterableIterator<string>;
  lines(options: { encoding?: BufferEncoding } = {}): AsyncIterableIterator<Buffer | string> {
    return this.#output.lines(options as { encoding: BufferEncoding });
  }

  /** Iterates over batches of lines, each with its time and source: what is there, 1,024 at most. */
  batches(): AsyncIterableIterator<LogLine[]> {
    const { native } = this.#life;
    return this.#output.pull(new Batches(() => this.#after(() => native.batch())));
  }

  /** Returns the bytes of all lines as a stream, always the same one; `destroy()` closes the connection. */
  chunks(): Readable {
    return this.#output;
  }

  /**
   * Iterates over what happens, at the pace of the lines: who reads none of these gets none of those.
   * Ends with the log, and tells nothing of how it ended.
   *
   * At most 1,000 wait for being taken. Beyond that the oldest is left out, and the next one says so by
   * `omitted`; but never a gap or a failure: two gaps of a log become one from the first to the last.
   */
  events(): AsyncIterableIterator<LogEvent> {
    return this.#events.open();
  }

  /**
   * How it ended, once. Rejected with a `WsxError` (`lost`, `not_found`, `forbidden`, `closed` …) and
   * with an `AbortError` when it was aborted. Nobody has to look at it. Read the lines, too: many that
   * nobody takes hold up the end.
   */
  get end(): Promise<LogEnd> {
    return this.#life.watched();
  }

  /** Tells what came so far. */
  report(): LogReport {
    return this.#life.native.report() as LogReport;
  }

  /** Closes the connections at once; `end` and its reader fail with an `AbortError`. */
  abort(reason?: unknown): void {
    this.#life.end(new AbortError(reason));
  }

  /** Closes the connections, where it is still read. */
  async close(): Promise<void> {
    this.#life.end(new WsxError('closed', 'the log was closed', { mayHaveStarted: true }));
    await this.#life.watched().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Tells the events that come next, then takes what stands behind them. */
  #after<Found>(take: () => Found): Found {
    for (const event of this.#life.native.advance()) this.#tell(known(event));
    return take();
  }

  #tell(event: LogEvent): void {
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

/** What the native half says where the time of a line is not known. */
const UNKNOWN = -(2n ** 63n);

/** Batches of lines, one at a time. */
class Batches implements Cursor<LogLine[]> {
  readonly #take: () => NativeLogBatch | null;
  #batch: LogLine[] | undefined;

  constructor(take: () => NativeLogBatch | null) {
    this.#take = take;
  }

  next(): LogLine[] | undefined {
    const batch = this.#batch;
    this.#batch = undefined;
    return batch;
  }

  fetch(): boolean | null {
    const found = this.#take();
    if (found === null) return null;
    if (found.ends.length === 0) return false;
    this.#batch = unpacked(found);
    return true;
  }
}

function unpacked({ data, ends, begins, timestamps, owners, sources }: NativeLogBatch): LogLine[] {
  let start = 0;
  return Array.from(ends, (end, index) => {
    const timestamp = timestamps[index] as bigint;
    const line = {
      data: data.subarray(start, end),
      timestamp: timestamp === UNKNOWN ? null : timestamp,
      begins: begins[index] === 1,
      source: sources[owners[index] as number] as LogSource,
    };
    start = end;
    return line;
  });
}
