/** A running port-forward. Lives here: its ports, connections without a socket, events, end. */
import { EventEmitter } from 'node:events';
import { type ForwardEvent, type ForwardEvents } from './forward-events.js';
import { ForwardSocket } from './forward-socket.js';
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
export declare class PortForward extends EventEmitter<ForwardEvents> implements AsyncDisposable {
    #private;
    /** What is listened on: a record for each address. */
    get localPorts(): readonly ForwardedPort[];
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
    open(port?: number | string, options?: {
        signal?: AbortSignal;
    }): Promise<ForwardSocket>;
    /**
     * Iterates over what happens, from the beginning where nobody has listened before. Ends with the
     * port-forward, and tells nothing of how it ended.
     *
     * At most 1,000 wait for being taken; a `missed` counts those that are left out.
     */
    events(): AsyncIterableIterator<ForwardEvent>;
    /**
     * Waits for the end: nothing after `close()`. Rejected with a `WsxError` that ended it for good (`lost`,
     * `not_started`, `forbidden` …), and with an `AbortError` when it was aborted. Nobody has to.
     */
    wait(): Promise<void>;
    /** Tells what was done so far. */
    report(): ForwardReport;
    /** Keeps the program alive, until it is closed; so it is from the beginning where it listens. */
    ref(): this;
    /** Lets the program end though it listens. */
    unref(): this;
    /** Ends it at once: `wait()` and its connections fail with an `AbortError`. */
    abort(reason?: unknown): void;
    /** Ends it: its local ports are free, its connections reset when this returns. */
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
