// Measures one piece of work of this process and prints it as one JSON line.
//
// Lives here: clock, CPU and memory of the process, and where the server is. Never here: a client.

import { readFileSync, writeFileSync } from 'node:fs';

export const CONTEXT = 'plain';

/// VmRSS (now) or VmHWM (highest so far) in MiB.
function memory(key) {
  return Number(readFileSync('/proc/self/status', 'utf8').match(new RegExp(`${key}:\\s+(\\d+)`))[1]) / 1024;
}

function cpu() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/// From its making to `finish`; imports and the connection's settings come before.
export class Measure {
  constructor() {
    writeFileSync('/proc/self/clear_refs', '5'); // the highest memory starts anew
    this.memory = memory('VmRSS');
    this.cpu = cpu();
    this.begin = performance.now();
  }

  /// Prints the line; `more` are figures of this work alone.
  finish(items, bytes, more = {}) {
    const wall = (performance.now() - this.begin) / 1000;
    const sample = { items, bytes, wall, cpu: cpu() - this.cpu, rss_mib: memory('VmHWM') };
    console.log(JSON.stringify({ ...sample, growth_mib: sample.rss_mib - this.memory, ...more }));
  }
}

/// The base URL of the cluster; its kubeconfig is JSON.
export function server(kubeconfig) {
  const { clusters } = JSON.parse(readFileSync(kubeconfig, 'utf8'));
  return clusters.find(({ name }) => name === CONTEXT).cluster.server;
}

/// Who is connected, as the server's kernel sees it: a peer that has sent its FIN is not.
export function connections(kubeconfig) {
  const port = `:${Number(new URL(server(kubeconfig)).port).toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1).map((row) => row.trim().split(/\s+/));
  return new Set(rows.filter(([, local, , state]) => local?.endsWith(port) && state === '01').map(([, , peer]) => peer));
}

/// KUBECONFIG WORK [TOTAL [FRAME]], as the driver gives them.
export function given() {
  const [kubeconfig, work, ...numbers] = process.argv.slice(2);
  return { kubeconfig, work, numbers: numbers.map(Number) };
}
