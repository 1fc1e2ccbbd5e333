// The official Node client: `Exec` into a Writable.
//
// KUBECONFIG lines|chunks|capture TOTAL FRAME

import { Exec, KubeConfig } from '@kubernetes/client-node';
import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { CONTEXT, Measure, given } from './measure.mjs';
import { Chunks, Lines } from './count.mjs';

const { kubeconfig, work, numbers } = given();
const config = new KubeConfig();
config.loadFromFile(kubeconfig);
config.setCurrentContext(CONTEXT);
config.clusters = config.clusters.map((cluster) => ({ ...cluster, skipTLSVerify: true })); // or it refuses plain HTTP
const kept = [];
const count = work === 'lines' ? new Lines() : new Chunks();
const stdout = new Writable({
  write(chunk, _encoding, done) {
    if (work === 'capture') kept.push(chunk);
    count.take(chunk);
    done();
  },
});
const command = [work === 'lines' ? 'lines' : 'gen', ...numbers.map(String)];

const measure = new Measure();
await new Exec(config).exec('default', 'web-0', 'app', command, stdout, null, null, false);
await finished(stdout);
if (work === 'capture') measure.finish(1, Buffer.concat(kept).length);
else measure.finish(count.items, count.bytes);
process.exit();
