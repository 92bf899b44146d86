// Figures of the Node package: a part of `cargo xtask bench languages`.
import { readdirSync, readFileSync } from 'node:fs';
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

// How long this thread was on a processor, and how long it waited for one, in milliseconds.
function scheduled() {
  const [ran, waited] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ');
  return [Number(ran) / 1e6, Number(waited) / 1e6];
}

// For each turn of a timer of a millisecond while some work is done, in milliseconds: how late it was, how long the loop's
// thread computed, and how long it could have and others had the processors.
async function turns(work) {
  const found = [];
  let over = false;
  const ticking = (async () => {
    while (!over) {
      const [began, [ran, waited]] = [performance.now(), scheduled()];
      await sleep(1);
      const [ranThen, waitedThen] = scheduled();
      found.push([performance.now() - began - 1, ranThen - ran, waitedThen - waited]);
    }
  })();
  await work();
  over = true;
  await ticking;
  return found;
}

const most = (turns, place) => turns.reduce((most, turn) => Math.max(most, turn[place]), 0);

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
  const busy = await turns(() => Promise.all(Array.from({ length: 50 }, (_, number) => one(number))));
  const taken = performance.now() - began;
  const idle = await turns(() => sleep(taken));
  return [most(busy, 0), most(busy, 1), most(busy, 2), most(idle, 0)];
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
