// The bar for Node: the `ws` package by hand, without any check or hold on memory.
//
// KUBECONFIG lines|chunks TOTAL FRAME

import WebSocket from 'ws';
import { Chunks, Lines } from './count.mjs';
import { Measure, given, server } from './measure.mjs';

const { kubeconfig, work, numbers } = given();
const count = work === 'lines' ? new Lines() : new Chunks();
const query = new URLSearchParams({ container: 'app', stdout: 'true', stderr: 'true' });
for (const word of [work === 'lines' ? 'lines' : 'gen', ...numbers]) query.append('command', word);
const url = `${server(kubeconfig).replace('http', 'ws')}/api/v1/namespaces/default/pods/web-0/exec?${query}`;

const measure = new Measure();
const socket = new WebSocket(url, ['v4.channel.k8s.io'], { perMessageDeflate: false });
socket.on('message', (message) => {
  if (message[0] === 1) count.take(message.subarray(1));
});
socket.on('close', () => measure.finish(count.items, count.bytes));
