// What callers get wrong: a typed error that says what is right, never a crash, never a hang.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { AbortError, Client, WsxError } from '../index.mjs';
import { cluster, fails } from './support.mjs';

const kubeconfig = await cluster();
const client = await Client.connect({ kubeconfig });

test('wrong types and values are refused before anything is sent', async () => {
  const wrong = [
    () => client.exec(),
    () => client.exec('web-0'),
    () => client.exec('web-0', []),
    () => client.exec('web-0', 'date'),
    () => client.exec('web-0', ['echo', 1]),
    () => client.exec('web-0', ['a\0b']),
    () => client.exec(null, ['true']),
    () => client.exec('Web_0', ['true']),
    () => client.exec('web-0', ['true'], { stdin: 'pipe' }),
    () => client.exec('web-0', ['true'], { namespace: 5 }),
    () => client.exec('web-0', ['true'], { protocol: 'v6' }),
    () => client.exec('web-0', ['true'], { verify: 'always' }),
    () => client.exec('web-0', ['true'], { size: { columns: 70_000, rows: 1 } }),
    () => client.exec('web-0', ['true'], { size: 'large' }),
    () => client.exec('web-0', ['true'], { timeouts: { total: -1 } }),
    () => client.exec('web-0', ['true'], { timeouts: { total: Number.NaN } }),
    () => client.exec('web-0', ['true'], { timeouts: { conect: 5 } }),
    () => client.exec('web-0', ['true'], { timeout: 5 }),
    () => client.exec('web-0', ['true'], { signal: {} }),
    () => client.exec('web-0', ['true'], 'options'),
    () => client.exec('web-0', ['true'], { stdout: false, stderr: false }),
    () => client.attach(),
    () => client.attach('web-0', ['true']),
    () => client.attach('web-0', { stdin: 'pipe' }),
    () => client.attach('web-0', { verify: 'never' }),
    () => client.attach('web-0', { stdout: false, stderr: false }),
    () => client.run('web-0', []),
    () => client.run('web-0', ['true'], { input: 5 }),
    () => client.run('web-0', ['true'], { encoding: 'klingon' }),
    () => client.run('web-0', ['true'], { maxOutput: -1 }),
    () => client.run('web-0', ['true'], { stdin: true }),
    () => client.run('web-0', ['true'], { timeout: 'soon' }),
    () => client.logs(),
    () => client.logs(null),
    () => client.logs(undefined, {}),
    () => client.logs('Web_0'),
    () => client.logs('web-0', { selector: 'app=web' }),
    () => client.logs('web-0', 'options'),
    () => client.logs('web-0', { tail: 5 }),
    () => client.logs('web-0', { follow: 'yes' }),
    () => client.logs('web-0', { tailLines: -1 }),
    () => client.logs('web-0', { tailLines: 1.5 }),
    () => client.logs('web-0', { limitBytes: 0 }),
    () => client.logs('web-0', { since: 500 }),
    () => client.logs('web-0', { since: -1000 }),
    () => client.logs('web-0', { since: 'yesterday' }),
    () => client.logs('web-0', { since: 1000, sinceTime: new Date() }),
    () => client.logs('web-0', { sinceTime: new Date(Number.NaN) }),
    () => client.logs('web-0', { sinceTime: 1_793_000_000 }),
    () => client.logs('web-0', { forever: true }),
    () => client.logs('web-0', { maxLogRequests: 0, follow: true, allContainers: true }),
    () => client.logs('web-0', { protocol: 'v5' }),
    () => client.logs('web-0', { timeouts: { total: 5000 } }),
    () => client.logs('web-0', { timeouts: { stall: 5000 } }),
    () => client.logs('web-0', { timeouts: { connect: 0 } }),
    () => client.logs('web-0', { signal: {} }),
    () => client.portForward(),
    () => client.portForward('web-0'),
    () => client.portForward('web-0', []),
    () => client.portForward('web-0', 80),
    () => client.portForward('web-0', '80'),
    () => client.portForward('web-0', [0]),
    () => client.portForward('web-0', [65_536]),
    () => client.portForward('web-0', [80.5]),
    () => client.portForward('web-0', [null]),
    () => client.portForward('web-0', ['']),
    () => client.portForward('web-0', ['80:']),
    () => client.portForward('web-0', ['1:2:3']),
    () => client.portForward('web-0', ['53/udp']),
    () => client.portForward(null, [80]),
    () => client.portForward('Web_0', [':80']),
    () => client.portForward('web-0', [':80'], 'options'),
    () => client.portForward('web-0', [':80'], { adress: [] }),
    () => client.portForward('web-0', [':80'], { address: 'localhost' }),
    () => client.portForward('web-0', [':80'], { address: ['nowhere'] }),
    () => client.portForward('web-0', [':80'], { balance: 'random' }),
    () => client.portForward('web-0', [':80'], { halfClose: true }),
    () => client.portForward('web-0', [':80'], { halfClose: 'no' }),
    () => client.portForward('web-0', [':80'], { hold: -1 }),
    () => client.portForward('web-0', [':80'], { onConflict: 'ask' }),
    () => client.portForward('web-0', [':80'], { protocol: 'v5' }),
    () => client.portForward('web-0', [':80'], { reconnect: false }),
    () => client.portForward('web-0', [':80'], { reconnect: 'always' }),
    () => client.portForward('web-0', [':80'], { reconnect: 1.5 }),
    () => client.portForward('web-0', [':80'], { requireReady: 'yes' }),
    () => client.portForward('web-0', [':80'], { sessions: 0 }),
    () => client.portForward('web-0', [':80'], { sessions: 17 }),
    () => client.portForward('web-0', [':80', ':7'], { unix: '/tmp/wsx' }),
    () => client.portForward('web-0', [':80'], { wait: 'long' }),
    () => client.portForward('web-0', [':80'], { timeouts: { total: 5000 } }),
    () => client.portForward('web-0', [':80'], { timeouts: { connect: 0 } }),
    () => client.portForward('web-0', [':80'], { signal: {} }),
    () => client.version({ signal: 5 }),
    () => Client.connect({ kubeconfg: 'x' }),
    () => Client.connect({ kubeconfig: 5 }),
    () => Client.connect(null),
    () => Client.connect({ onNotice: 'log' }),
    () => Client.from({}),
    () => Client.from(null),
    () => new Client(),
  ];
  for (const call of wrong) {
    const error = await fails(call, 'invalid').catch((error) => assert.fail(`${call}: ${error.message}`));
    assert.equal(error.mayHaveStarted, false);
  }
  const hint = await fails(() => client.exec('web-0', 'date'), 'invalid');
  assert.match(hint.remedies[0], /'sh', '-c'/);
});

test('wrong connections are refused, and the right ones go on', async () => {
  const forward = await client.portForward('web-0', [7], { address: [] });
  const wrong = [
    () => forward.open(0),
    () => forward.open('nope'),
    () => forward.open(80),
    () => forward.open(null),
    () => forward.open({}),
    () => forward.open(7, null),
    () => forward.open(7, { sginal: undefined }),
    () => forward.open(7, { signal: 5 }),
  ];
  for (const call of wrong) await fails(call, 'invalid').catch((error) => assert.fail(`${call}: ${error.message}`));
  const socket = await forward.open(7);
  socket.write('x');
  assert.throws(() => socket.write(5), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.equal(String((await once(socket, 'data'))[0]), 'x');
  await forward.close();
});

test('a kubeconfig that is none is refused without quoting it', async () => {
  await fails(() => Client.connect({ kubeconfig: `${kubeconfig}.none` }), 'config');
  await fails(() => Client.connect({ kubeconfig, context: 'nope' }), 'config');
  const broken = await fails(() => Client.from({ exportConfig: () => 'users: [s3cret' }), 'config');
  assert.doesNotMatch(JSON.stringify(broken) + broken.stack, /s3cret/);
  await fails(() => Client.from({ exportConfig: () => 5 }), 'invalid');
});

test('the configuration of the official client is taken as it is', async () => {
  const kubeConfig = { exportConfig: () => readFileSync(kubeconfig, 'utf8') };
  const other = await Client.from(kubeConfig, { namespace: 'other' });
  assert.equal(other.namespace, 'other');
  assert.equal((await other.run('web-0', ['true'])).exitCode, 0);
});

test('the exit code is a value, and an error where it was asked for', async () => {
  const command = ['sh', '-c', 'cat; echo why >&2; exit 3'];
  const done = await client.run('web-0', command, { input: 'in', encoding: 'utf8' });
  const status = { code: 3, confidence: 'confirmed' };
  assert.deepEqual(done, { args: command, exitCode: 3, stdout: 'in', stderr: 'why\n', status });
  const error = await fails(client.run('web-0', command, { input: Buffer.from('in'), check: true }), 'exit');
  const { exitCode, stdout, stderr, mayHaveStarted, stdoutBytes } = error;
  assert.deepEqual([exitCode, String(stdout), String(stderr), mayHaveStarted, stdoutBytes], [3, 'in', 'why\n', true, 2]);
});

test('an error of run carries the output so far', async () => {
  // A loaded machine takes a while to begin.
  const slow = ['sh', '-c', 'echo begun; sleep 20'];
  const limits = [{ timeout: 3000 }, { timeouts: { total: 3000 } }];
  const runs = limits.map((limit) => fails(client.run('web-0', slow, { ...limit, encoding: 'utf8' }), 'timeout'));
  for (const late of await Promise.all(runs)) assert.equal(late.stdout, 'begun\n');
  const much = await fails(client.run('web-0', ['gen', '1M'], { maxOutput: 1000 }), 'closed');
  assert.equal(much.stdout.length, 1000);
});

test('errors tell what is known of the refusal', async () => {
  const { httpStatus, reason, mayHaveStarted, message } = await fails(client.run('nope', ['true']), 'not_found');
  assert.deepEqual([httpStatus, reason, mayHaveStarted], [404, 'NotFound', false]);
  assert.match(message, /"nope" not found/);
});

test('what is worth telling is told', async () => {
  const notices = [];
  const told = await Client.connect({ kubeconfig, onNotice: (notice) => notices.push(notice) });
  await told.run('web-0', ['true']);
  assert.deepEqual(notices.map(({ name, level }) => [name, level]), [['defaulted_container', 'note']]);
});

test('both ways of loading give the same classes', async () => {
  const required = createRequire(import.meta.url)('kubectl-wsx');
  assert.equal(required.Client, Client);
  assert.equal(required.WsxError, WsxError);
  assert.equal(required.AbortError, AbortError);
});

test('a thousand runs at once share one client', async () => {
  const count = process.env.WSX_SOAK ? 1000 : 200;
  const runs = Array.from({ length: count }, (_, index) =>
    client.run('web-0', ['echo', String(index)], { container: 'app', preflight: false, encoding: 'utf8' }),
  );
  const outputs = (await Promise.all(runs)).map(({ stdout }) => Number(stdout));
  assert.deepEqual(outputs, Array.from({ length: count }, (_, index) => index));
});

test('a panic is an error', async () => {
  // Builds for tests have a defect to ask for; it tells its words, and the module goes on.
  const require = createRequire(import.meta.url);
  const [{ defect }, { fromNative }] = ['../native/index.js', '../dist/errors.js'].map((file) => require(file));
  for (const [begun, words] of [[false, 'in a call'], [true, 'in what was begun']]) {
    const error = await fails(async () => {
      try {
        await defect(begun);
      } catch (error) {
        throw fromNative(error);
      }
    }, 'internal');
    assert.ok(error.message.includes(words), error.message);
    assert.equal(error.mayHaveStarted, true);
  }
  assert.equal((await client.run('web-0', ['true'])).exitCode, 0);
});
