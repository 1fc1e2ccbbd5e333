/** What can be asked for. Lives here: options and their names. Never here: defaults, which are the core's. */
import type * as native from '../native/index.js';
/** Limits in milliseconds. */
export type Timeouts = native.Timeouts;
/** Limits of logs in milliseconds. */
export type LogsTimeouts = native.LogsTimeouts;
/** Limits of port-forwards in milliseconds. */
export type PortForwardTimeouts = native.PortForwardTimeouts;
/** The size of a terminal in characters; `process.stdout` is one. */
export type TerminalSize = native.TerminalSize;
/** Something worth telling that is no error. */
export interface Notice {
    /** Stable name of what it is about, such as `waiting`. */
    name: string;
    /** How much it matters. */
    level: 'detail' | 'note' | 'warning';
    /** One line for people. */
    message: string;
}
interface Abortable {
    /** Ends what is under way, with an `AbortError` whose `cause` is the signal's reason. */
    signal?: AbortSignal;
}
/** Whom to reach. All that is absent comes from the kubeconfig, like with kubectl. */
export interface ConnectOptions extends Omit<native.ConnectOptions, 'kubeconfigText'>, Abortable {
    /** Is told what is worth telling: a pod that was chosen, a warning of the server. */
    onNotice?: (notice: Notice) => void;
}
/** What to ask of `exec`. */
export interface ExecOptions extends Omit<native.SessionOptions, 'protocol' | 'verify'>, Abortable {
    /** Subprotocol to offer: `auto` is the smallest that can say all that is needed. */
    protocol?: Protocol;
    /** Whether a doubtful success is looked into. */
    verify?: 'auto' | 'never';
}
/** What to ask of `attach`. */
export type AttachOptions = Omit<ExecOptions, 'verify' | 'preflight'>;
/** What to ask of `run`. */
export interface RunOptions extends Omit<ExecOptions, 'stdin' | 'stdout' | 'stderr' | 'tty' | 'size'> {
    /** All input; text is sent as UTF-8. Absent: the command gets none. */
    input?: string | Uint8Array;
    /** Whether an exit code other than 0 is an error. */
    check?: boolean;
    /** Limit for the whole call in milliseconds; the same as `timeouts.total`. */
    timeout?: number;
    /** Makes text of the output, such as `utf8`. */
    encoding?: BufferEncoding;
    /** How many bytes of stdout and stderr together are kept at most; more is an error. */
    maxOutput?: number;
}
/** What to ask of `logs`. */
export interface LogsOptions extends Omit<native.LogsOptions, 'sinceTime' | 'protocol'>, Abortable {
    /** Only lines of this point in time or later; text is RFC 3339. */
    sinceTime?: string | Date;
    /** How it travels while following. Without `follow` it is always HTTP. */
    protocol?: 'auto' | 'http' | 'binary.k8s.io' | 'base64.binary.k8s.io';
}
/** What to ask of `portForward`. */
export interface PortForwardOptions extends Omit<native.PortForwardOptions, 'balance' | 'halfClose' | 'onConflict' | 'protocol' | 'reconnect'>, Abortable {
    /** Whether to use all ready pods of the target, and how; absent: one of them until it goes. */
    balance?: 'least' | 'round-robin';
    /** When the end of a local side's input goes to the pod: `auto` once the pod has been quiet for 1 s. */
    halfClose?: 'auto' | 'hold' | 'pass';
    /** What to do when a local port is in use. */
    onConflict?: 'fail' | 'next' | 'random';
    /** How connections travel: in one session, or in one each with `v4`. */
    protocol?: 'auto' | 'tunnel' | 'v4' | 'SPDY/3.1+portforward.k8s.io' | 'v4.channel.k8s.io';
    /** What to do when a session is lost; a number: how many failures in a row are the end. */
    reconnect?: 'auto' | 'never' | number;
}
export type Protocol = 'auto' | 'v4' | 'v5' | 'base64.channel.k8s.io' | 'channel.k8s.io' | 'v4.base64.channel.k8s.io' | 'v4.channel.k8s.io' | 'v5.channel.k8s.io';
/** The names of all options, to refuse what would be ignored. */
export declare const NAMES: {
    readonly connect: readonly ["kubeconfig", "context", "cluster", "user", "namespace", "server", "token", "impersonate", "impersonateGroups", "certificateAuthority", "clientCertificate", "clientKey", "insecureSkipTlsVerify", "tlsServerName", "requestTimeout", "onNotice", "signal"];
    readonly exec: readonly ["namespace", "container", "stdin", "stdout", "stderr", "tty", "size", "protocol", "verify", "preflight", "timeouts", "signal"];
    readonly attach: readonly ["namespace", "container", "stdin", "stdout", "stderr", "tty", "size", "protocol", "timeouts", "signal"];
    readonly run: readonly ["namespace", "container", "input", "check", "timeout", "encoding", "maxOutput", "protocol", "verify", "preflight", "timeouts", "signal"];
    readonly logs: readonly ["namespace", "selector", "allNamespaces", "allPods", "container", "allContainers", "follow", "forever", "previous", "tailLines", "since", "sinceTime", "limitBytes", "timestamps", "resume", "ignoreErrors", "maxLogRequests", "sortWindow", "protocol", "timeouts", "signal"];
    readonly portForward: readonly ["namespace", "address", "balance", "halfClose", "hold", "onConflict", "protocol", "reconnect", "requireReady", "sessions", "unix", "wait", "timeouts", "signal"];
    readonly open: readonly ["signal"];
    readonly timeouts: readonly ["total", "connect", "keepalive", "keepaliveTimeout", "stall", "podRunning"];
    readonly logsTimeouts: readonly ["connect", "keepalive", "keepaliveTimeout", "podRunning"];
    readonly portForwardTimeouts: readonly ["connect", "keepalive", "keepaliveTimeout", "stall", "podRunning"];
};
/** Refuses options that do not exist. */
export declare function checkOptions(verb: keyof typeof NAMES, options: unknown): void;
/** Refuses a signal that is none. */
export declare function checkSignal(signal: unknown): void;
/** Refuses a target that is no text. */
export declare function checkTarget(target: unknown): asserts target is string;
/** Refuses a command that is no list of words. */
export declare function checkCommand(command: unknown): asserts command is string[];
/** Refuses a port that is none. */
export declare function checkPort(port: unknown): asserts port is number | string;
/** Refuses ports that are no list of them. */
export declare function checkPorts(ports: unknown): asserts ports is Array<number | string>;
export {};
