/** `kubectl-wsx`: commands in Kubernetes pods, their logs and their ports, with back-pressure and true ends. */
export { Client } from './client.js';
export type { CompletedProcess, KubeConfigLike } from './client.js';
export { AbortError, WsxError } from './errors.js';
export type { ErrorCode } from './errors.js';
export type { ForwardClosed, ForwardEvent, ForwardEvents, ForwardMissed, ForwardOpened, ForwardPaused, ForwardReady, ForwardReconnecting, ForwardResumed, } from './forward-events.js';
export type { ForwardSocket } from './forward-socket.js';
export { PortForward } from './forward.js';
export type { ForwardReport, ForwardedPort } from './forward.js';
export type { LogEnded, LogEvent, LogEvents, LogFailed, LogGap, LogReconnected, LogReplaced, LogRestarted, LogSource, LogStarted, LogWaiting, } from './log-events.js';
export { Logs } from './logs.js';
export type { LogEnd, LogLine, LogReport } from './logs.js';
export type { AttachOptions, ConnectOptions, ExecOptions, LogsOptions, LogsTimeouts, Notice, PortForwardOptions, PortForwardTimeouts, RunOptions, TerminalSize, Timeouts, } from './options.js';
export { Process } from './process.js';
export type { ExitStatus, TerminalLike } from './process.js';
export type { Input, Output } from './streams.js';
