/** `kubectl-wsx`: commands in Kubernetes pods and their logs, with back-pressure and true ends. */
export { Client } from './client.js';
export type { CompletedProcess, KubeConfigLike } from './client.js';
export { AbortError, WsxError } from './errors.js';
export type { ErrorCode } from './errors.js';
export type { LogEnded, LogEvent, LogEvents, LogFailed, LogGap, LogReconnected, LogReplaced, LogRestarted, LogSource, LogStarted, LogWaiting, } from './log-events.js';
export { Logs } from './logs.js';
export type { LogEnd, LogLine, LogReport } from './logs.js';
export type { AttachOptions, ConnectOptions, ExecOptions, LogsOptions, LogsTimeouts, Notice, RunOptions, TerminalSize, Timeouts, } from './options.js';
export { Process } from './process.js';
export type { ExitStatus, TerminalLike } from './process.js';
export type { Input, Output } from './streams.js';
