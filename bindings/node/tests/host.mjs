// A program that builds while it, or what happens to it, is unusual: `hazards.test.mjs` starts it.
import { Worker } from 'node:worker_threads';

import { Builder, Stage, StepFailedError } from 'stagewright';

const [what, store, project, marker] = process.argv.slice(2);
const builder = new Builder({ store, environment: {} });
const base = Stage.scratch()
  .copy('busybox', '/bin/busybox')
  .shell(['/bin/busybox', 'sh', '-c']);

async function exitOf(number, command = `echo ${number}; exit ${number}`) {
  try {
    await builder.build({ context: project, stage: base.env('N', String(number)).run(command) });
  } catch (error) {
    if (!(error instanceof StepFailedError)) throw error;
    return `${error.exitCode} ${error.logTail.join()}`;
  }
  return 'built';
}

async function codes(numbers) {
  for (const number of numbers) {
    const found = await exitOf(number);
    if (found !== `${number} ${number}`) throw new Error(`${number} gave ${found}`);
  }
}

const numbers = (from, count) => Array.from({ length: count }, (_, i) => from + i);
const SLEEPERS =
  `B=/bin/busybox; $B sleep ${marker} & $B setsid $B sleep ${marker} & $B sleep ${marker} & ` +
  `echo ready; $B sleep ${marker}`;

switch (what) {
  case 'codes':
    await codes(numbers(1, 12));
    break;
  case 'at once':
    await Promise.all(numbers(0, 8).map((of) => codes(numbers(10 + of * 4, 4))));
    break;
  case 'huge': {
    const held = Buffer.alloc(2 ** 30, 1);
    await codes([3]);
    if (held[2 ** 29] !== 1) throw new Error('it is gone');
    break;
  }
  case 'worker': {
    // The thread that started the build goes, and the build with it.
    const text = `
      const { parentPort, workerData } = require('node:worker_threads');
      const { createRequire } = require('node:module');
      const { Builder, Stage } = createRequire(workerData.from)('stagewright');
      const stage = Stage.scratch().copy('busybox', '/bin/busybox').shell(['/bin/busybox', 'sh', '-c']).run(workerData.sleepers);
      const build = new Builder({ store: workerData.store, environment: {} }).start({ context: workerData.project, stage });
      build.on('log', () => parentPort.postMessage('ready'));
      build.wait().catch(() => undefined);
    `;
    const workerData = { from: import.meta.url, store, project, sleepers: SLEEPERS };
    const worker = new Worker(text, { eval: true, workerData });
    await new Promise((resolve) => worker.once('message', resolve));
    await worker.terminate();
    globalThis.gc();
    await codes([7]);
    break;
  }
  case 'sleep': {
    const build = builder.start({ context: project, stage: base.run(SLEEPERS) });
    build.on('log', () => console.log('ready'));
    const error = await build.wait().catch((error) => error);
    console.log(error.code);
    break;
  }
}
console.log('done');
