// Ours on Node.
//
// KUBECONFIG lines|chunks|capture|slow TOTAL FRAME
// KUBECONFIG cancel ITEMS CANCELLED
// KUBECONFIG leave
// KUBECONFIG many RUNS

import { Client } from 'kubectl-wsx';
import assert from 'node:assert';
import { once } from 'node:events';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { CONTEXT, Measure, connections, given } from './measure.mjs';

const { kubeconfig, work, numbers } = given();
const client = await Client.connect({ kubeconfig, context: CONTEXT });
const exec = (command, options) => client.exec('web-0', command.map(String), { container: 'app', ...options });
const measure = new Measure();

const works = {
  async lines(total, frame) {
    let [items, bytes] = [0, 0];
    const process = await exec(['lines', total, frame]);
    process.stderr.resume();
    for await (const line of process.stdout.lines({ encoding: 'latin1' })) {
      items += 1;
      bytes += line.length;
    }
    assert.equal((await process.exit).code, 0);
    measure.finish(items, bytes);
  },

  async chunks(total, frame) {
    let [items, bytes] = [0, 0];
    const process = await exec(['gen', total, frame]);
    process.stderr.resume();
    process.stdout.on('data', (chunk) => {
      items += 1;
      bytes += chunk.length;
    });
    await once(process.stdout, 'end');
    assert.equal((await process.exit).code, 0);
    measure.finish(items, bytes);
  },

  async slow(total, frame) {
    let [items, bytes] = [0, 0];
    const process = await exec(['gen', total, frame]);
    process.stderr.resume();
    for await (const chunk of process.stdout) {
      items += 1;
      bytes += chunk.length;
      await sleep(1);
    }
    assert.equal((await process.exit).code, 0);
    measure.finish(items, bytes);
  },

  async capture(total, frame) {
    const done = await client.run('web-0', ['gen', `${total}`, `${frame}`], { container: 'app', check: true });
    measure.finish(1, done.stdout.length);
  },

  /// An echo for each item; waiting reads are aborted, from at once to after it has come.
  async cancel(items, wanted) {
    let [seen, cancelled] = ['', 0];
    const process = await exec(['cat'], { stdin: true });
    process.stderr.resume();
    const { stdout, stdin } = process;
    for (let index = 0; index < items; index += 1) {
      const abort = new AbortController();
      const readable = once(stdout, 'readable', { signal: abort.signal }).then(() => true, () => false);
      const item = `${index}\n`;
      const goal = seen.length + item.length;
      stdin.write(item);
      if (cancelled < wanted) {
        for (let turns = index % 16; turns > 0; turns -= 1) await turn();
        abort.abort();
      }
      if (!(await readable)) cancelled += 1;
      for (;;) {
        seen += stdout.read() ?? '';
        if (seen.length >= goal) break;
        await once(stdout, 'readable');
      }
    }
    stdin.end();
    for await (const chunk of stdout) seen += chunk;
    assert.equal((await process.exit).code, 0);
    const expected = Array.from({ length: items }, (_, index) => `${index}\n`);
    const lines = seen.split(/(?<=\n)/);
    const lost = items - new Set(lines).size;
    measure.finish(lines.length, seen.length, { cancelled, lost, in_order: seen === expected.join('') });
  },

  /// The time from leaving in the middle of a flood until the server's kernel knows.
  async leave() {
    await client.run('web-0', ['true'], { container: 'app', check: true }); // what is kept open is open now
    const latest = {};
    for (const way of ['break', 'abort', 'close']) {
      const before = connections(kubeconfig);
      const abort = new AbortController();
      const process = await exec(['lines', '64G'], { signal: abort.signal });
      const ours = [...connections(kubeconfig)].filter((peer) => !before.has(peer));
      assert.notEqual(ours.length, 0);
      let begin;
      try {
        for await (const line of process.stdout.lines()) {
          begin ??= performance.now();
          if (way === 'break') break;
          if (way === 'abort') abort.abort();
          else await process.close();
        }
      } catch (error) {
        assert.notEqual(way, 'break', error);
      }
      const left = () => !ours.some((peer) => connections(kubeconfig).has(peer));
      while (!left() && performance.now() - begin < 10_000) await sleep(1);
      latest[`${way}_s`] = (performance.now() - begin) / 1000;
    }
    measure.finish(3, 0, { slowest_s: Math.max(...Object.values(latest)), ...latest });
  },

  async many(runs) {
    const one = () => client.run('web-0', ['true'], { container: 'app', check: true });
    const ended = await Promise.allSettled(Array.from({ length: runs }, one));
    const failed = ended.filter(({ status }) => status === 'rejected').map(({ reason }) => `${reason}`);
    measure.finish(ended.length, 0, { errors: failed.length, first_error: failed[0] });
  },
};

await works[work](...numbers);
await client.close();
