/** What happens to a log. Lives here: the events, and which are left out where nobody takes them. */

import type { NativeLogEvent } from '../native/index.js';
import { parsed, type WsxError } from './errors.js';

/** Whose log it is. */
export interface LogSource {
  /** Namespace of the pod. */
  readonly namespace: string;
  /** Name of the pod. */
  readonly pod: string;
  /** Container; empty where it is not known. */
  readonly container: string;
}

interface Happening<Kind extends string> {
  /** What happened. */
  readonly kind: Kind;
  /** Whose log it happened to. */
  readonly source: LogSource;
  /** From `events()`: how many events were left out before this one, or are one with it, because nobody took them. */
  readonly omitted?: number;
}

/** Lines may be missing here. */
export interface LogGap extends Happening<'gap'> {
  /** False where the place was found, but by too little to be sure of it. */
  readonly certain: boolean;
  /** Time of the last line before, in nanoseconds since 1970. */
  readonly from: bigint | null;
  /** Time of the next line; `null` when none has come yet. */
  readonly to: bigint | null;
}

/** The connection was lost, and the log goes on over another one. */
export interface LogReconnected extends Happening<'reconnected'> {
  /** For how many seconds nothing could come. */
  readonly away: number;
  /** How the last connection ended. */
  readonly why: string;
}

/** The pod was replaced by another one: what follows is its log from the beginning. */
export interface LogReplaced extends Happening<'replaced'> {
  /** Name of the pod now. */
  readonly pod: string;
}

/** The container was restarted: what follows is a new run from its beginning. */
export interface LogRestarted extends Happening<'restarted'> {
  /** How often it was restarted since the pod was made. */
  readonly count: number;
  /** How many whole runs in between nobody has seen; a gap was told then. */
  readonly unseen: number;
}

/** Nothing can come for the time being. */
export interface LogWaiting extends Happening<'waiting'> {
  /** What is waited for. */
  readonly reason: string;
}

/** Where several logs are read: this one joins. */
export type LogStarted = Happening<'started'>;

/** Where several logs are read: this one is complete. */
export interface LogEnded extends Happening<'ended'> {
  /** The exit code of its container, where it was followed and the pod tells it. */
  readonly exitCode: number | null;
}

/** With `ignoreErrors`: this one could not be read, or not on; the others are. */
export interface LogFailed extends Happening<'failed'> {
  /** Why not. */
  readonly error: WsxError;
}

/** What happened to a log, by its `kind`. */
export type LogEvent =
  | LogGap
  | LogReconnected
  | LogReplaced
  | LogRestarted
  | LogWaiting
  | LogStarted
  | LogEnded
  | LogFailed;

/** The events of the emitter, with what their listeners get. */
export type LogEvents = {
  [Kind in LogEvent['kind']]: [event: Extract<LogEvent, { kind: Kind }>];
} & { event: [event: LogEvent] };

/** Makes an event of what the native half tells. */
export function known(event: NativeLogEvent): LogEvent {
  const { error } = event;
  return (error === undefined ? event : { ...event, error: parsed(error) }) as LogEvent;
}

/**
 * Makes room among events that nobody takes: by the oldest that tells of no loss, else by two gaps of one
 * log that become one.
 */
export function fold(kept: LogEvent[]): void {
  const oldest = kept.findIndex(({ kind }) => kind !== 'gap' && kind !== 'failed');
  if (oldest >= 0 && oldest < kept.length - 1) {
    const [left, after] = kept.splice(oldest, 2) as [LogEvent, LogEvent];
    kept.splice(oldest, 0, { ...after, omitted: omitted(left, after) });
    return;
  }
  const gaps = new Map<string, number>();
  for (const [index, event] of kept.entries()) {
    if (event.kind !== 'gap') continue;
    const { namespace, pod, container } = event.source;
    const log = `${namespace}/${pod}/${container}`;
    const before = gaps.get(log);
    if (before !== undefined) {
      const first = kept[before] as LogGap;
      const certain = first.certain || event.certain;
      kept[before] = { ...first, certain, to: event.to, omitted: omitted(first, event) };
      kept.splice(index, 1);
      return;
    }
    gaps.set(log, index);
  }
}

/** Counts an event that goes, with those that went before it, to one that stays. */
function omitted(one: LogEvent, other: LogEvent): number {
  return 1 + (one.omitted ?? 0) + (other.omitted ?? 0);
}
