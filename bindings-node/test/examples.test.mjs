// The examples do what they say.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';
import { promisify } from 'node:util';

import { cluster, controlled } from './support.mjs';

const run = promisify(execFile);
const KUBECONFIG = await cluster();

test('exec-stream copies a folder into a pod, or says why not', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wsx-from-'));
  const remote = await mkdtemp(join(tmpdir(), 'wsx-to-'));
  const script = fileURLToPath(new URL('../examples/exec-stream.mjs', import.meta.url));
  const copy = (to) => run(process.execPath, [script, folder, 'web-0:app', to], { env: { ...process.env, KUBECONFIG } });
  try {
    const data = Buffer.alloc(3_000_000, 'wsx\n');
    await writeFile(join(folder, 'large'), data);
    // The pods of the embedded cluster share the disk of this machine.
    const { stdout } = await copy(remote);
    assert.equal(stdout, `copied ${folder} to web-0:${remote}\n`);
    assert.ok(data.equals(await readFile(join(remote, 'large'))));
    await assert.rejects(copy(join(remote, 'none')), ({ code, stderr }) => code === 1 && /Error/.test(stderr));
  } finally {
    for (const each of [folder, remote]) await rm(each, { recursive: true });
  }
});

/** Starts the web server; returns its address, and what it said so far. */
async function followLogs() {
  const script = fileURLToPath(new URL('../examples/follow-logs.mjs', import.meta.url));
  const server = spawn(process.execPath, [script], { env: { ...process.env, KUBECONFIG, PORT: '0' } });
  after(() => server.kill());
  const said = { text: '' };
  server.stderr.on('data', (data) => (said.text += data));
  const [address] = await once(server.stdout, 'data');
  return { address: String(address).trim(), said };
}

test('follow-logs shows a log as it is written, until either side leaves', { timeout: 60_000 }, async () => {
  const { address, said } = await followLogs();
  const log = controlled(KUBECONFIG, 'page-0');
  await log({ create: {} }, { write: [{ text: 'one\n<script>\n' }] });
  const leave = new AbortController();
  const page = await fetch(`${address}/default/page-0`, { signal: leave.signal });
  assert.equal(page.headers.get('content-type'), 'text/plain; charset=utf-8');
  const chunks = page.body.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  let shown = '';
  const until = async (wanted) => {
    while (shown !== wanted) shown += (await chunks.next()).value;
  };
  await until('one\n<script>\n');
  await log({ await_follows: 1 }, { cut: 'rst' }, { write: [{ text: 'two\n' }] });
  await until('one\n<script>\ntwo\n');
  assert.match(said.text, /page-0: reconnected/);
  await log({ await_follows: 1 });
  leave.abort();
  // The connection to the cluster goes with the browser.
  await log({ await_follows: 0 });
  const last = fetch(`${address}/default/page-0/app?tail=1`).then((page) => page.text());
  await log({ await_follows: 1 }, { exit: 0 });
  assert.equal(await last, 'two\n');
  const none = await fetch(`${address}/default/none`);
  assert.deepEqual([none.status, (await none.text()).includes('not found')], [404, true]);
});

test('forward-http asks a pod, or says why not', async () => {
  const script = fileURLToPath(new URL('../examples/forward-http.mjs', import.meta.url));
  const ask = (...args) => run(process.execPath, [script, ...args], { env: { ...process.env, KUBECONFIG } });
  const { stdout, stderr } = await ask('svc/web', '80', '/', '/bytes?n=3', '/');
  assert.equal(stdout, '200 / web-0\n200 /bytes?n=3 \0\0\0\n200 / web-0\n');
  assert.match(stderr, /^1 connections, \d+ bytes, by SPDY\/3.1\+portforward.k8s.io\n$/);
  const fails = (pattern) => ({ code, stderr }) => code === 1 && pattern.test(stderr);
  await assert.rejects(ask('svc/web', '80', '/cut?n=10&of=50'), fails(/aborted|lost|terminated/));
  await assert.rejects(ask('pod/web-0', '81', '/'), fails(/port 81 of the pod cannot be reached/));
});
