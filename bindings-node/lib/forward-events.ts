/** What happens to a port-forward. Lives here: the events, and which are left out where nobody takes them. */

import type { NativeForwardEvent } from '../native/index.js';
import { parsed, type WsxError } from './errors.js';

interface OfConnection<Kind extends string> {
  /** What happened. */
  readonly kind: Kind;
  /** The number of the connection, from 1. */
  readonly connection: number;
  /** The port of the pod. */
  readonly remote: number;
  /** The local port; 0 for `open()` and a Unix socket. */
  readonly local: number;
}

/** A connection came. */
export type ForwardOpened = OfConnection<'opened'>;

/** A connection is over. */
export interface ForwardClosed extends OfConnection<'closed'> {
  /** Bytes that went to the pod. */
  readonly sent: number;
  /** Bytes that came from it and were taken. */
  readonly received: number;
  /** For how many seconds it lived. */
  readonly lasted: number;
  /** Why it was reset; `null` where both sides were done. */
  readonly error: WsxError | null;
}

/** A session is there. */
export interface ForwardReady {
  readonly kind: 'ready';
  /** The pod it leads to. */
  readonly pod: string;
  /** For how many seconds there was none; `null` for the first. */
  readonly away: number | null;
}

/** The last session is lost, or its pod is; another one is opened. */
export interface ForwardReconnecting {
  readonly kind: 'reconnecting';
  /** The pod it led to. */
  readonly pod: string;
  /** Why. */
  readonly why: string;
}

/** No local connection is accepted until descriptors are free again. */
export interface ForwardPaused {
  readonly kind: 'paused';
  /** What the system says. */
  readonly why: string;
}

/** Local connections are accepted again. */
export interface ForwardResumed {
  readonly kind: 'resumed';
}

/** So many events are not told, because nobody took them in time. */
export interface ForwardMissed {
  readonly kind: 'missed';
  /** How many. */
  readonly count: number;
}

/** What happened to a port-forward, by its `kind`. */
export type ForwardEvent =
  | ForwardOpened
  | ForwardClosed
  | ForwardReady
  | ForwardReconnecting
  | ForwardPaused
  | ForwardResumed
  | ForwardMissed;

/** The events of the emitter, with what their listeners get. */
export type ForwardEvents = {
  [Kind in ForwardEvent['kind']]: [event: Extract<ForwardEvent, { kind: Kind }>];
} & { event: [event: ForwardEvent] };

/** Makes an event of what the native half tells. */
export function known(event: NativeForwardEvent): ForwardEvent {
  const { error } = event;
  return (error ? { ...event, error: parsed(error) } : event) as ForwardEvent;
}

/** Makes room among events that nobody takes: a `missed` stands for the oldest. */
export function fold(kept: ForwardEvent[]): void {
  const gone = kept.splice(0, 2).map((event) => (event.kind === 'missed' ? event.count : 1));
  kept.unshift({ kind: 'missed', count: gone.reduce((sum, count) => sum + count, 0) });
}
