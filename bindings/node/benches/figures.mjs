// Figures of the Node package: a part of `cargo xtask bench languages`.
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

import { Builder } from 'stagewright';

const BUSYBOX = 'FROM scratch\nCOPY busybox /bin/busybox\nSHELL ["/bin/busybox", "sh", "-c"]\n';
const builder = new Builder({ store: 'store', environment: {} });
const [what, count] = process.argv.slice(2);
const times = Number(count);

// Builds in which nothing is to be done, in milliseconds each.
async function warm(times) {
  const taken = [];
  for (let i = 0; i < times + 50; i++) {
    const began = performance.now();
    await builder.build({ context: 'project' });
    taken.push(performance.now() - began);
  }
  return taken.slice(50);
}

// How late a timer of a millisecond is while some work is done, in milliseconds.
async function lags(work) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  return { max: delay.max / 1e6 - 1, p99: delay.percentile(99) / 1e6 - 1 };
}

async function one(number) {
  const command =
    number % 5 === 0
      ? `echo ${number}; exit 3`
      : `i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo $i ${number}; done`;
  const build = builder.start({ context: 'project', dockerfileText: `${BUSYBOX}RUN ${command}\n` });
  for await (const _ of build) {
    if (number % 7 === 0) build.cancel();
  }
  await build.wait().catch(() => undefined);
}

async function fifty() {
  const began = performance.now();
  const busy = await lags(() => Promise.all(Array.from({ length: 50 }, (_, number) => one(number))));
  const taken = performance.now() - began;
  const idle = await lags(() => sleep(taken));
  return [busy.max, idle.max, busy.p99];
}

async function aborted() {
  const build = builder.start({
    context: 'project',
    dockerfileText: `${BUSYBOX}RUN echo ready; sleep 1000\n`,
    noCache: true,
  });
  await new Promise((resolve) => build.once('log', resolve));
  const sent = performance.now();
  build.cancel();
  await build.wait().catch(() => undefined);
  return performance.now() - sent;
}

async function held() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await sleep(20);
  }
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    resident_kib: Math.round(process.memoryUsage().rss / 1024),
  };
}

let found = [];
if (what === 'warm') {
  found = await warm(times);
} else if (what === 'loop') {
  for (let i = 0; i < times; i++) found.push(await fifty());
} else if (what === 'interrupt') {
  for (let i = 0; i < times; i++) found.push(await aborted());
} else {
  await warm(250);
  found.push(await held());
  await warm(times);
  found.push(await held());
}
console.log(JSON.stringify(found));
