/** A cluster that can be entered. Lives here: connecting, starting, running, aborting. */
import { PortForward } from './forward.js';
import { type AttachOptions, type ConnectOptions, type ExecOptions, type LogsOptions, type PortForwardOptions, type RunOptions } from './options.js';
import { Logs } from './logs.js';
import { Process, type ExitStatus } from './process.js';
/** What `Client.from` needs of a `KubeConfig` of `@kubernetes/client-node`. */
export interface KubeConfigLike {
    /** Returns the kubeconfig as YAML or JSON. */
    exportConfig(): string;
}
/** A command that has ended. `Data` is `string` where an encoding was given, else `Buffer`. */
export interface CompletedProcess<Data = Buffer> {
    /** The command that ran. */
    readonly args: readonly string[];
    /** Its exit code. */
    readonly exitCode: number;
    /** Its output. */
    readonly stdout: Data;
    /** Its error output. */
    readonly stderr: Data;
    /** Its exit code, and how sure it is. */
    readonly status: ExitStatus;
}
/** A cluster that can be entered. Safe to share; `close` it to end all that it has started. */
export declare class Client implements AsyncDisposable {
    #private;
    private constructor();
    /**
     * Loads the kubeconfig; nothing is sent yet.
     *
     * @throws {WsxError} `config` when the kubeconfig or the options cannot be used.
     */
    static connect(options?: ConnectOptions): Promise<Client>;
    /**
     * Takes the configuration that the official client already holds. Credentials stay in memory.
     *
     * @throws {WsxError} as `connect`.
     */
    static from(kubeConfig: KubeConfigLike, options?: Omit<ConnectOptions, 'kubeconfig'>): Promise<Client>;
    /** The namespace where none is named. */
    get namespace(): string;
    /** Asks the server for its version, such as `v1.35.0`. */
    version(options?: {
        signal?: AbortSignal;
    }): Promise<string>;
    /**
     * Starts a command in a container of `POD` or `TYPE/NAME`. It is sent at most once. Read both
     * outputs, or `resume()` what you do not want: one connection carries them, as with a local pipe.
     *
     * @throws {WsxError} `mayHaveStarted` tells whether the command certainly did not run.
     * @throws {AbortError} when the signal was aborted; the same signal ends the session later on.
     */
    exec(target: string, command: readonly string[], options?: ExecOptions): Promise<Process>;
    /**
     * Joins the main process of a container of `POD` or `TYPE/NAME`: its output from now on, and its
     * input where it has one. Its exit status is the container's own; a stream that ends while the
     * container runs on is `lost`. The terminal is the container's, whatever `tty` says: `hasTerminal`
     * tells.
     *
     * @throws {WsxError} as `exec`; `invalid` when input is wanted of a container made without.
     * @throws {AbortError} when the signal was aborted; the same signal ends the session later on.
     */
    attach(target: string, options?: AttachOptions): Promise<Process>;
    /**
     * Reads the log of a container of `POD` or `TYPE/NAME`. With `follow` it goes on over cuts, restarts
     * and outages: no line is repeated, and none is missing without a `gap`.
     *
     * @throws {WsxError} `invalid`, `not_found`, `forbidden` … as the server says of the pod; what is wrong
     * with the log itself its `end` and its reader tell.
     * @throws {AbortError} when the signal was aborted; the same signal ends the log later on.
     */
    logs(target: string | undefined, options?: LogsOptions): Promise<Logs>;
    /**
     * Forwards local ports to ports of `POD` or `TYPE/NAME`, each `[LOCAL:]REMOTE` as kubectl writes them:
     * `'8080:80'`, `':http'`, `80`. It goes on until it is closed: lost sessions and pods are replaced, and
     * the local ports stay. With `address: []` nothing is listened on, and connections come from `open()`.
     *
     * @throws {WsxError} `invalid`, `not_found`, `forbidden` … as the server says of target and ports,
     * `not_started` when no pod may be used in time, `local_io` when a port cannot be listened on.
     * @throws {AbortError} when the signal was aborted; the same signal ends the port-forward later on.
     */
    portForward(target: string, ports: ReadonlyArray<number | string>, options?: PortForwardOptions): Promise<PortForward>;
    /**
     * Runs a command to its end and gives back all of its output.
     *
     * @throws {WsxError} as `exec`; what is known only later carries the output so far. `exit` with
     * `check`, `closed` beyond `maxOutput`, `timeout`.
     * @throws {AbortError} when the signal was aborted.
     */
    run(target: string, command: readonly string[], options: RunOptions & {
        encoding: BufferEncoding;
    }): Promise<CompletedProcess<string>>;
    run(target: string, command: readonly string[], options?: RunOptions & {
        encoding?: undefined;
    }): Promise<CompletedProcess>;
    run(target: string, command: readonly string[], options?: RunOptions): Promise<CompletedProcess<Buffer | string>>;
    /** Ends all that this client has started, and refuses more. */
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
