// What the tests lean on: a cluster, a look at its sockets, and programs that run apart.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';

import { Client } from '../index.mjs';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? `${root}/target`;

/** Reads a JSON file below `tests`. */
export const table = (file) => JSON.parse(readFileSync(`${root}/tests/${file}`));

/** `snake_case` as Node writes it. */
export const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

/** The bytes that a scenario means: text, `{ repeat: [text, times] }` or `{ hex }`. */
export const bytes = (value) => {
  if (typeof value === 'string') return Buffer.from(value);
  return value.repeat ? Buffer.from(value.repeat[0].repeat(value.repeat[1])) : Buffer.from(value.hex, 'hex');
};

/** Options as Node names them. */
export const renamed = (options = {}, change = (value) => value) =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [camel(name), change(value)]));

/** Starts a program that prints the path of a kubeconfig and ends with its stdin. */
async function started(program) {
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const leave = async () => {
    child.stdin.end();
    if (child.exitCode === null) await once(child, 'exit');
  };
  let text = '';
  for await (const data of child.stdout) {
    text += data;
    if (text.includes('\n')) break;
  }
  return { kubeconfig: text.split('\n')[0], leave };
}

/** Starts such a program for the tests of this file. */
export async function fixture(program) {
  const { kubeconfig, leave } = await started(program);
  after(leave);
  return kubeconfig;
}

const embedded = `${target}/debug/wsx-test-cluster`;

/** Starts an embedded cluster for the tests of this file. */
export const cluster = () => fixture(embedded);

/** Starts an embedded cluster that ends with `leave()`. */
export const ownCluster = () => started(embedded);

/** The address of an embedded cluster that speaks plain HTTP. */
function plainServer(kubeconfig) {
  const { clusters } = JSON.parse(readFileSync(kubeconfig));
  return new URL(clusters.find(({ name }) => name === 'plain').cluster.server);
}

/** Returns what changes the log of a container: `await log({ write: [{ text: 'x' }] }, { cut: 'rst' })`. */
export function controlled(kubeconfig, pod, container = 'app', namespace = 'default') {
  return operator(new URL(`/__wsx/log/${namespace}/${pod}/${container}`, plainServer(kubeconfig)));
}

/** Returns what arranges the ports of a pod: `await ports({ cut: 'rst' })`; it answers with counts. */
export function forwarded(kubeconfig, pod, namespace = 'default') {
  return operator(new URL(`/__wsx/forward/${namespace}/${pod}`, plainServer(kubeconfig)));
}

function operator(url) {
  return async (...operations) => {
    const body = operations.map((operation) => JSON.stringify(operation)).join('\n');
    const answer = await fetch(url, { method: 'POST', body });
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    return JSON.parse(text);
  };
}

/**
 * Connects over plain HTTP through a relay that tells when the connections to the server end.
 * Returns the client and `closed(count)`: waits until so many upgraded connections have ended.
 */
export async function watched(kubeconfig) {
  const plain = plainServer(kubeconfig);
  const ends = [];
  const sockets = new Set();
  const relay = net.createServer((down) => {
    const up = net.connect(plain.port, plain.hostname);
    sockets.add(down);
    let upgraded = false;
    down.once('data', (data) => {
      upgraded = data.includes('Upgrade: websocket') || data.includes('upgrade: websocket');
    });
    down.on('close', () => {
      sockets.delete(down);
      if (upgraded) ends.push(Date.now());
      relay.emit('ended');
    });
    up.on('close', () => down.destroy()).on('error', () => {});
    down.on('close', () => up.destroy()).on('error', () => {});
    down.pipe(up).pipe(down);
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  after(() => {
    relay.close();
    for (const socket of sockets) socket.destroy();
  });
  const server = `http://127.0.0.1:${relay.address().port}`;
  const client = await Client.connect({ kubeconfig, context: 'plain', server });
  const closed = async (count, limit = 1000) => {
    const signal = AbortSignal.timeout(limit);
    while (ends.length < count) await once(relay, 'ended', { signal });
  };
  return { client, closed };
}

/** Runs a module of its own and tells how it ended; `text` sees `Client` and `kubeconfig`. */
export async function program(text, kubeconfig, { flags = [], context } = {}) {
  const index = new URL('../index.mjs', import.meta.url);
  const head = `import { Client, WsxError } from '${index}';
    const kubeconfig = ${JSON.stringify(kubeconfig)};
    const client = await Client.connect({ kubeconfig, context: ${JSON.stringify(context)} });\n`;
  const args = [...flags, '--input-type=module', '--eval', head + text];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].on('data', (data) => (said[name] += data));
  const limit = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const [code, signal] = await once(child, 'close');
  clearTimeout(limit);
  return { code, signal, ...said };
}

/** Asserts that a promise, or a function, fails with this code. */
export async function fails(action, code) {
  let result;
  try {
    result = await (typeof action === 'function' ? action() : action);
  } catch (error) {
    assert.equal(error.code, code, `${error.stack}`);
    assert.ok(['WsxError', 'AbortError'].includes(error.name), error.name);
    return error;
  }
  assert.fail(`did not fail with ${code}: ${JSON.stringify(result)}`);
}
