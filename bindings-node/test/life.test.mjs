// Programs as a whole: what keeps them alive, what ends them, threads, and what nobody looks at.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cluster, program } from './support.mjs';

const kubeconfig = await cluster();
const LOST = `client.exec('web-0', ['@fault', '{"after_bytes":1000,"then":"rst"}', 'gen', '64k'])`;

async function says(text, wanted, flags) {
  const { code, signal, stdout, stderr } = await program(text, kubeconfig, { flags });
  assert.deepEqual({ signal, stdout: stdout.trim() }, { signal: null, stdout: wanted }, stderr);
  return { code, stderr };
}

test('a process that nobody looks at does not keep the program alive', async () => {
  const { code } = await says(`await client.exec('web-0', ['sleep', '30']); console.log('over');`, 'over');
  assert.equal(code, 0);
});

test('an exit or a stream that somebody waits for does', async () => {
  const text = `
    const one = await client.exec('web-0', ['sleep', '0.5']);
    one.exit.then(({ code }) => console.log('exit', code));
    const two = await client.exec('web-0', ['sh', '-c', 'sleep 1; echo late']);
    two.stdout.on('data', (data) => console.log(String(data).trim()));`;
  assert.equal((await says(text, 'exit 0\nlate')).code, 0);
});

test('process.exit with open streams ends the program at once, with its code', async () => {
  const text = `
    const flood = await client.exec('web-0', ['gen', '1G']);
    const open = await client.exec('web-0', ['cat'], { stdin: true });
    open.stdin.write('x');
    const log = await client.logs('writer-0', { container: 'r1000', follow: true });
    log.chunks().resume();
    const forward = await client.portForward('web-0', [':19']);
    (await forward.open(19)).resume();
    forward.open(19).catch(() => {});
    client.run('web-0', ['sleep', '30']).catch(() => {});
    client.exec('web-0', ['true']).catch(() => {});
    client.logs('web-0').catch(() => {});
    client.portForward('web-0', [':19']).catch(() => {});
    flood.stdout.once('data', () => process.exit(7));`;
  assert.equal((await says(text, '')).code, 7);
});

test('a failure that nobody looks at is told once, on the stream that is read', async () => {
  const unread = `const lost = await ${LOST}; setTimeout(() => console.log('over'), 300);`;
  assert.equal((await says(unread, 'over')).code, 0);
  const read = `const lost = await ${LOST}; lost.stdout.on('data', () => {});`;
  const { code, stderr } = await says(read, '');
  assert.equal(code, 1);
  assert.match(stderr, /WsxError/);
  const watched = `const lost = await ${LOST};
    lost.stdout.on('data', () => {});
    await lost.exit.catch(({ code }) => console.log(code));`;
  assert.equal((await says(watched, 'lost')).code, 0);
});

test('threads use the module at once, and are ended in the middle', async () => {
  const text = `
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    const script = \`
      const { parentPort } = require('node:worker_threads');
      const { Client } = require(\${JSON.stringify(require_)});
      (async () => {
        const client = await Client.connect({ kubeconfig: \${JSON.stringify(kubeconfig)} });
        const { stdout } = await client.run('web-0', ['echo', 'hi'], { encoding: 'utf8' });
        const flood = await client.exec('web-0', ['gen', '1G']);
        client.run('web-0', ['sleep', '30']).catch(() => {});
        const forward = await client.portForward('web-0', [':19']);
        (await forward.open()).resume();
        flood.stdout.on('data', () => parentPort.postMessage(stdout.trim()));
      })();\`;
    const said = await Promise.all(Array.from({ length: 4 }, async () => {
      const worker = new Worker(script, { eval: true, execArgv: [] });
      const [text] = await once(worker, 'message');
      await worker.terminate();
      return text;
    }));
    console.log(said.join(), (await client.run('web-0', ['true'])).exitCode);`;
  const path = new URL('../dist/index.js', import.meta.url).pathname;
  const { code } = await says(`const require_ = ${JSON.stringify(path)};${text}`, 'hi,hi,hi,hi 0');
  assert.equal(code, 0);
});

test('a thread may be the only one that loads the module', async () => {
  const text = `
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    for (let index = 0; index < 3; index++) {
      const worker = new Worker(\`import('${new URL('../index.mjs', import.meta.url)}').then(() => {})\`, { eval: true, execArgv: [] });
      await once(worker, 'exit');
    }
    console.log('over');`;
  assert.equal((await says(text, 'over')).code, 0);
});

test('a process that has ended is collected, though an output was never read', async () => {
  const text = `
    import { setTimeout as sleep } from 'node:timers/promises';
    const refs = [];
    for (let index = 0; index < 20; index++) {
      const process = await client.exec('web-0', ['sh', '-c', 'echo x; echo y >&2'], { container: 'app' });
      for await (const _ of process.stdout);
      await process.exit;
      refs.push(new WeakRef(process.stderr));
    }
    const alive = () => refs.filter((ref) => ref.deref()).length;
    // The last ones may still lie in a register.
    for (let turn = 0; turn < 100 && alive() > 2; turn++) {
      // What was asked for in this turn is kept until its end.
      await sleep(10);
      gc();
    }
    console.log(alive() <= 2);`;
  await says(text, 'true', ['--expose-gc']);
});

test('who waits is kept until he is woken, though the end is known and nobody else holds him', async () => {
  const text = `
    import { createRequire } from 'node:module';
    import { setTimeout as sleep } from 'node:timers/promises';
    const { Life } = createRequire('${new URL(import.meta.url)}')('../dist/life.js');
    let ring;
    const native = { listen: (call) => (ring = call), heard() {}, close() {}, status: () => ({ code: 0 }) };
    (() => {
      const life = new Life(native, undefined, new Set());
      life.begin([]);
      life.wait('key', () => console.log('woken'), true);
    })();
    for (let turn = 0; turn < 5; turn++) {
      await sleep(1);
      gc();
    }
    ring();`;
  await says(text, 'woken', ['--expose-gc']);
});

test('a listener that throws does not silence the other stream', async () => {
  const text = `
    const seen = [];
    process.on('uncaughtException', ({ message }) => seen.push(message));
    const both = await client.exec('web-0', ['sh', '-c', 'sleep 0.2; echo out; echo err >&2'], { container: 'app' });
    both.stdout.once('data', () => { throw new RangeError('mine'); });
    both.stderr.on('data', (data) => seen.push(String(data).trim()));
    both.stderr.on('end', () => setImmediate(() => console.log(seen.sort().join())));`;
  await says(text, 'err,mine');
});

test('a log keeps the program alive while somebody waits for it, and not longer', async () => {
  const unread = `await client.logs('writer-0', { container: 'r10', follow: true }); console.log('over');`;
  assert.equal((await says(unread, 'over')).code, 0);
  const read = `
    const logs = await client.logs('writer-0', { container: 'r10', follow: true });
    let lines = 0;
    logs.chunks().on('data', () => ++lines === 3 && logs.close().then(() => console.log('over')));
    logs.chunks().on('error', () => {});`;
  assert.equal((await says(read, 'over')).code, 0);
  const end = `(await client.logs('web-0')).end.then(({ kind }) => console.log(kind));`;
  assert.equal((await says(end, 'complete')).code, 0);
});

test('a log whose failure nobody looks at tells it on the stream that is read', async () => {
  const unread = `await client.logs('nolog-0'); setTimeout(() => console.log('over'), 300);`;
  assert.equal((await says(unread, 'over')).code, 0);
  const { code, stderr } = await says(`(await client.logs('nolog-0')).chunks().resume();`, '');
  assert.equal(code, 1);
  assert.match(stderr, /WsxError/);
});

test('a forward that listens keeps the program alive until it is closed, and one that does not listen does not', async () => {
  const listens = `
    const forward = await client.portForward('web-0', [':80']);
    setTimeout(() => forward.close().then(() => console.log('closed')), 300).unref();`;
  assert.equal((await says(listens, 'closed')).code, 0);
  for (const [ask, more] of [["[':80']", 'forward.unref()'], ["[80], { address: [] }", 'forward.report()']]) {
    const left = `const forward = await client.portForward('web-0', ${ask}); ${more}; console.log('over');`;
    assert.equal((await says(left, 'over')).code, 0);
  }
  const held = `
    const forward = await client.portForward('web-0', [80], { address: [] });
    forward.ref().ref();
    setTimeout(() => console.log('later', forward.unref() === forward), 300).unref();`;
  assert.equal((await says(held, 'later true')).code, 0);
  const waits = `
    const forward = await client.portForward('web-0', [7], { address: [] });
    const events = forward.events();
    console.log((await events.next()).value.kind);
    setTimeout(() => forward.open().then((socket) => socket.unref()), 300).unref();
    console.log((await events.next()).value.kind);
    setTimeout(() => forward.close(), 100).unref();
    console.log((await events.next()).value.kind);`;
  assert.equal((await says(waits, 'ready\nopened\nclosed')).code, 0);
});

test('a connection keeps the program alive until it is closed', async () => {
  const begin = `const forward = await client.portForward('web-0', [7], { address: [] }); const socket = await forward.open();`;
  const open = `${begin} setTimeout(() => { console.log('late'); socket.destroy(); }, 300).unref();`;
  assert.equal((await says(open, 'late')).code, 0);
  assert.equal((await says(`${begin} socket.unref(); console.log('over');`, 'over')).code, 0);
  const cut = `${begin} socket.on('close', () => console.log('closed')); await forward.close();`;
  assert.equal((await says(cut, 'closed')).code, 0);
});

test('a connection that is cut and that nobody listens to ends the program, as a socket does', async () => {
  const text = `
    const forward = await client.portForward('web-0', [9999], { address: [] });
    await forward.open();`;
  const { code, stderr } = await says(text, '');
  assert.equal(code, 1);
  assert.match(stderr, /WsxError: port 9999 of the pod cannot be reached/);
});

test('listeners that throw stop neither their connection nor another', async () => {
  const text = `
    const seen = [];
    process.on('uncaughtException', ({ message }) => seen.push(message));
    const forward = await client.portForward('web-0', [100, 101], { address: [] });
    forward.on('opened', ({ connection }) => { throw new RangeError('opened ' + connection); });
    let bytes = 0;
    const socket = await forward.open(101);
    socket.on('data', (data) => {
      bytes += data.length;
      if (bytes <= 30) throw new RangeError('data');
    });
    await new Promise((done) => socket.once('end', done));
    const other = await forward.open(100);
    other.write('abc');
    for await (const data of other) bytes += data.length;
    await forward.close();
    console.log(bytes, [...new Set(seen)].sort().join());`;
  await says(text, '200 data,opened 1,opened 2');
});

test('connections that have ended are collected, and so is a forward that was closed', async () => {
  const text = `
    import { setTimeout as sleep } from 'node:timers/promises';
    const refs = [];
    for (let index = 0; index < 20; index++) {
      const forward = await client.portForward('web-0', [7], { address: [] });
      forward.on('closed', () => {});
      const socket = await forward.open();
      socket.write('x');
      await new Promise((done) => socket.once('data', done));
      socket.destroy();
      await forward.close();
      refs.push(new WeakRef(socket), new WeakRef(forward));
    }
    const alive = () => refs.filter((ref) => ref.deref()).length;
    // The last ones may still lie in a register.
    for (let turn = 0; turn < 100 && alive() > 4; turn++) {
      await sleep(10);
      gc();
    }
    console.log(alive() <= 4 || alive());`;
  await says(text, 'true', ['--expose-gc']);
});

test('a flood leaves the others their turn', async () => {
  const text = `
    const forward = await client.portForward('web-0', [19], { address: [] });
    const socket = await forward.open();
    const busy = (data) => {
      const until = performance.now() + data.length / 32_768;
      while (performance.now() < until);
    };
    let immediates = 0;
    const turn = () => ++immediates === 10 ? (console.log('over'), process.exit(0)) : setImmediate(turn);
    socket.on('data', busy).once('data', turn);
    // A flood that has it all gives nobody this chance either.
    await new Promise((done) => socket.once('close', done));`;
  const begin = performance.now();
  assert.equal((await says(text, 'over')).code, 0);
  const took = performance.now() - begin;
  assert.ok(took < 10_000, String(took));
});
