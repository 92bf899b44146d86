// The package as it is installed: `cargo xtask bindings node` runs this in an empty project.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Worker } from 'node:worker_threads';

import * as library from 'stagewright';
import { Builder, Stage } from 'stagewright';

const root = mkdtempSync(join(tmpdir(), 'stagewright-node-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

const DOCKERFILE = `\
FROM scratch AS build
WORKDIR /build
COPY package.json ./
COPY src src

FROM scratch
COPY --from=build /build /app
CMD ["node", "/app"]
`;

function fresh() {
  const folder = join(root, String(count++));
  const project = join(folder, 'project');
  mkdirSync(join(project, 'src'), { recursive: true });
  writeFileSync(join(project, 'Dockerfile'), DOCKERFILE);
  writeFileSync(join(project, '.dockerignore'), 'Dockerfile\n');
  writeFileSync(join(project, 'package.json'), '{}');
  writeFileSync(join(project, 'src/index.js'), 'one');
  const store = join(folder, 'store');
  return { folder, project, store, builder: new Builder({ store, environment: {} }) };
}

async function executed(build) {
  const names = new Map();
  const ran = [];
  for await (const event of build) {
    if (event.kind === 'planned') {
      for (const vertex of event.vertices) {
        if (vertex.step) names.set(vertex.id, vertex.name);
      }
    } else if (event.kind === 'finished' && event.outcome === 'executed') {
      if (names.has(event.vertex)) ran.push(names.get(event.vertex));
    }
  }
  await build.wait();
  return ran;
}

test('the package is the same for import and for require', () => {
  const required = createRequire(import.meta.url)('stagewright');
  const names = Object.keys(required).filter((name) => required[name] !== undefined);
  assert.deepEqual(Object.keys(library).sort(), names.sort());
  assert.equal(required.Builder, Builder);
});

test('a Dockerfile becomes an image that is exported', async () => {
  const { builder, project, folder } = fresh();
  const image = await builder.build({ context: project, tags: ['app:1'], labels: { a: 'b' } });
  assert.deepEqual(image.names, ['docker.io/library/app:1']);
  assert.deepEqual(image.config.config.Labels, { a: 'b' });
  assert.equal(builder.image('app:1').id, image.id);
  const digest = await image.export(join(folder, 'out'), { names: ['app:1'] });
  assert.match(digest, /^sha256:/);
  assert.equal(await image.export(join(folder, 'files'), { kind: 'directory' }), null);
  assert.equal(readFileSync(join(folder, 'files/app/src/index.js'), 'utf8'), 'one');
  assert.equal((await image.sizes()).totalBytes, 5);
  assert.equal((await builder.images())[0].name, 'docker.io/library/app:1');
  const usage = await builder.cacheUsage();
  assert.ok(usage.layers.count > 0 && usage.layers.sharedBytes > 0);
  assert.equal(usage.cacheMounts.reclaimableBytes, 0);
  assert.deepEqual((await builder.verifyCache()).damaged, []);
});

test('a second build says what is cached and why the rest is not', async () => {
  const { builder, project } = fresh();
  assert.equal((await executed(builder.start({ context: project }))).length, 4);
  assert.deepEqual(await executed(builder.start({ context: project })), []);
  writeFileSync(join(project, 'src/index.js'), 'two');
  const changes = [];
  const build = builder.start({ context: project });
  build.on('finished', (event) => changes.push(...(event.miss?.changes ?? [])));
  await build.wait();
  assert.ok(changes.some((change) => change.input === 'file' && change.name.includes('index.js')));
});

test('another builder runs nothing with the cache', async () => {
  const { builder, project, folder } = fresh();
  const cache = join(folder, 'cache');
  const image = await builder.build({ context: project });
  assert.match(await image.exportCache(`type=local,dest=${cache},mode=max`), /^sha256:/);
  const other = new Builder({ store: join(folder, 'other'), environment: {} });
  const cacheFrom = [`type=local,src=${cache}`];
  assert.deepEqual(await executed(other.start({ context: project, cacheFrom })), []);
  await assert.rejects(image.exportCache('type=gha'), /there is no token/);
});

test('an image is attested, copied and loaded', async () => {
  const { folder, project, builder } = fresh();
  await builder.build({ context: project, tags: ['app:1'], provenance: 'mode=min', sbom: true });
  const archive = join(folder, 'app.tar');
  const told = [];
  const onEvent = (event) => told.push(event);
  const digest = await builder.copyImage('app:1', `oci-archive:${archive}:app:1`, { onEvent });
  const ends = told.filter((event) => event.kind === 'finished');
  assert.deepEqual(ends.map((event) => event.outcome), ['executed']);
  const found = await builder.inspectImage(`oci-archive:${archive}`, { predicates: true });
  assert.equal(found.digest, digest);
  assert.equal(found.attestations.length, 2);
  assert.equal(found.attestations[0].predicate.spdxVersion, 'SPDX-2.3');
  const other = new Builder({ store: join(folder, 'other'), environment: {} });
  assert.deepEqual(await other.loadImages(archive), ['docker.io/library/app:1']);
  assert.equal(other.image('app:1').id, builder.image('app:1').id);
  await assert.rejects(other.copyImage('app:1', 'dir:x'), library.UnsupportedError);
  await assert.rejects(other.copyImage('app:1', 'dir:x', { onEvent }), library.UnsupportedError);
  const faulty = () => {
    throw new RangeError('mine');
  };
  await assert.rejects(other.loadImages(archive, { onEvent: faulty }), RangeError);
});

test('a stage in code hits what the Dockerfile made, and mixes with it', async () => {
  const { builder, project } = fresh();
  await builder.build({ context: project });
  const build = Stage.scratch().workdir('/build').copy('package.json', './').copy('src', 'src');
  const app = Stage.scratch().copy('/build', '/app', { from: build }).cmd(['node', '/app']);
  assert.deepEqual(await executed(builder.start({ context: project, stage: app })), []);
  assert.match(app.toDockerfile(), /^FROM scratch AS stage-0\nWORKDIR \/build\n/);
  const mixed = await builder.build({
    context: project,
    dockerfile: 'Dockerfile',
    stage: Stage.from('build').copy('/x.json', '/y.json', { from: 'extra' }),
    buildContexts: { extra: Stage.scratch().copy('package.json', '/x.json') },
  });
  assert.equal(mixed.config.rootfs.diff_ids.length, 4);
});

test('failures are errors by kind', async () => {
  const { builder, project, folder } = fresh();
  const wrong = { name: 'DockerfileError', code: 'dockerfile', line: 2 };
  await assert.rejects(builder.build({ dockerfileText: 'FROM scratch\nCOPPY a b\n' }), wrong);
  await assert.rejects(
    builder.build({ dockerfileText: 'FROM scratch\nCOPY missing /\n' }),
    library.NotFoundError,
  );
  await assert.rejects(builder.build({ context: join(folder, 'no') }), { code: 'not_found' });
  await assert.rejects(builder.build({ context: project, noCach: true }), { code: 'request' });
  await assert.rejects(builder.build({ context: project, noCache: 'yes' }), { code: 'request' });
  assert.throws(() => builder.image('nothing:1'), library.NotFoundError);
  assert.throws(() => Stage.from(7), { name: 'TypeError', code: 'request' });
  assert.throws(() => new Builder({ stor: folder }), { name: 'TypeError', code: 'request' });
  await assert.rejects(builder.build({ context: 7 }), { code: 'request' });
  await assert.rejects(library.exportImages(['app:1'], folder), { code: 'request' });
  assert.throws(() => Stage.scratch().env('A B', 'c').toDockerfile(), library.RequestError);
});

test('options that are none, and names that nothing has, are refused', async () => {
  const { builder, project } = fresh();
  const wrong = (message) => ({ name: 'TypeError', code: 'request', message });
  const object = wrong('the options of a build are an object, { name: value }, not "."');
  await assert.rejects(builder.build('.'), object);
  await assert.rejects(builder.explain(null), { code: 'request' });
  const none = wrong('cache_ttl_ms is a number, not NaN');
  await assert.rejects(builder.build({ context: project, cacheTtlMs: NaN }), none);
  await assert.rejects(builder.pruneCache({ maxUsedBytes: Infinity }), { code: 'request' });
  assert.throws(() => new Builder('store'), { code: 'request' });
  for (const storeLimit of [-1, NaN, 1.5, '5g']) {
    assert.throws(() => new Builder({ storeLimit }), wrong(`storeLimit is a number of bytes, not ${storeLimit}`));
  }
  await assert.rejects(builder.verifyCache({ repare: true }), wrong(/no option 'repare'.* repair$/));
  await assert.rejects(builder.pruneCache({ al: true }), { code: 'request' });
  await assert.rejects(builder.copyImage('a:1', 'b:1', 'linux/amd64'), { code: 'request' });
  const image = await builder.build({ context: project });
  await assert.rejects(image.exportCache('type=local,dest=x', { onevent() {} }), { code: 'request' });
  await assert.rejects(image.export('x', ['gzip']), { code: 'request' });
  assert.throws(() => Stage.scratch().run('true', { mount: [] }), wrong(/^run has no option 'mount'/));
  for (const mount of [{ type: 'tmpfs', target: '/t', size: 1 }, { type: 'volume', target: '/t' }]) {
    const stage = Stage.scratch().run('true', { mounts: [mount] });
    assert.throws(() => stage.toDockerfile(), { code: 'request' });
  }
});

test('a signal stops a build', async () => {
  const { builder, project } = fresh();
  const controller = new AbortController();
  controller.abort(new Error('enough'));
  const error = await builder
    .build({ context: project, noCache: true, signal: controller.signal })
    .catch((error) => error);
  assert.equal(error.code, 'cancelled');
  assert.equal(error.cause.message, 'enough');
});

test("a listener's fault is what the build rejects with", async () => {
  const { builder, project } = fresh();
  const build = builder.start({ context: project });
  build.on('event', () => {
    throw new RangeError('mine');
  });
  await assert.rejects(build.wait(), RangeError);
});

test('fifty at once of all sorts', async () => {
  const { builder, project } = fresh();
  const one = async (number) => {
    const options =
      number % 5 === 0
        ? { dockerfileText: `FROM scratch\nLABEL n=${number}\nCOPY missing /\n` }
        : { context: project, labels: { n: String(number) } };
    const build = builder.start(options);
    if (number % 7 === 0) build.cancel();
    try {
      const image = await build.wait();
      assert.equal(image.config.config.Labels.n, String(number));
      return 'built';
    } catch (error) {
      return error.code;
    }
  };
  const codes = await Promise.all(Array.from({ length: 50 }, (_, number) => one(number)));
  codes.forEach((code, number) => {
    const expected = [number % 5 === 0 ? 'not_found' : 'built'];
    if (number % 7 === 0) expected.push('cancelled');
    assert.ok(expected.includes(code), `${number}: ${code}`);
  });
});

// An image keeps its layers until it is collected, and is let go of in a later turn of the loop.
async function collected() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('a build is explained without being done', async () => {
  const { builder, project } = fresh();
  await builder.build({ context: project });
  assert.ok((await builder.explain({ context: project })).every((one) => one.verdict !== 'miss'));
  writeFileSync(join(project, 'src/index.js'), 'other');
  const missed = (await builder.explain({ context: project })).filter((one) => one.miss);
  assert.deepEqual(missed.map((one) => one.name), ['[build 3/3] COPY src src']);
  assert.match(missed[0].miss.changes[0].name, /index\.js/);
});

test('what nobody needs is pruned', async () => {
  const { builder, project } = fresh();
  await builder.build({ context: project });
  await collected();
  const pruned = await builder.pruneCache({ all: true });
  assert.ok(pruned.bytes > 0 && pruned.items.some((item) => item.kind === 'layer'));
  assert.equal((await builder.cacheUsage()).layers.count, 0);
  await assert.rejects(builder.pruneCache({ kinds: ['everything'] }), { code: 'request' });
});

test('room on the disk of the store is kept free', async () => {
  const { project, store } = fresh();
  const all = 2 ** 52;
  const kept = new Builder({ store, environment: {}, storeMinFree: all });
  await kept.build({ context: project });
  await collected();
  const reserved = await kept.pruneCache({ minFreeBytes: all, reservedBytes: 2 ** 40 });
  assert.deepEqual(reserved.items, []);
  assert.ok((await kept.cacheUsage()).layers.count > 1);
  const small = new Builder({ store, environment: {}, storeMinFree: all, storeReserved: 1 });
  await small.build({ context: project, dockerfileText: 'FROM scratch\nCOPY package.json /\n' });
  assert.equal((await small.cacheUsage()).layers.count, 1);
  await collected();
  assert.ok((await small.pruneCache({ maxUsedBytes: 1 })).items.length > 0);
});

test('a worker thread builds', async () => {
  const { project, store } = fresh();
  const text = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { createRequire } = require('node:module');
    const { Builder } = createRequire(workerData.from)('stagewright');
    new Builder({ store: workerData.store, environment: {} })
      .build({ context: workerData.project })
      .then((image) => parentPort.postMessage(image.id));
  `;
  const workerData = { from: import.meta.url, project, store };
  const ids = await Promise.all(
    [1, 2].map(
      () =>
        new Promise((resolve, reject) => {
          const worker = new Worker(text, { eval: true, workerData });
          worker.once('message', resolve).once('error', reject);
        }),
    ),
  );
  assert.ok(ids.every((id) => id.startsWith('sha256:')));
});

test('a thousand warm builds leave nothing', async () => {
  const { builder, project } = fresh();
  const held = async () => {
    await collected();
    return {
      fds: readdirSync('/proc/self/fd').length,
      threads: readdirSync('/proc/self/task').length,
      resident: process.memoryUsage().rss,
    };
  };
  const some = async (times) => {
    for (let i = 0; i < times; i++) await builder.build({ context: project });
  };
  await some(300);
  const before = await held();
  await some(1000);
  const after = await held();
  assert.ok(after.fds <= before.fds + 4, `${before.fds} to ${after.fds} descriptors`);
  assert.ok(after.threads <= before.threads + 16);
  assert.ok(after.resident - before.resident < 48 << 20, `${after.resident - before.resident}`);
});

test('images of several platforms leave as one', async () => {
  const { builder, project, folder } = fresh();
  const images = await Promise.all(
    ['linux/amd64', 'linux/arm64'].map((platform) => builder.build({ context: project, platform })),
  );
  const out = join(folder, 'out');
  const annotations = { 'index:org.example': 'x' };
  const digest = await library.exportImages(images, out, { names: ['app:1'], annotations });
  const index = JSON.parse(readFileSync(join(out, 'blobs', digest.replace(':', '/')), 'utf8'));
  const found = index.manifests.map((manifest) => manifest.platform.architecture);
  assert.deepEqual(found.sort(), ['amd64', 'arm64']);
  assert.deepEqual(index.annotations, { 'org.example': 'x' });
  assert.ok((await builder.layerUses()).every((layer) => layer.uses >= 1));
});

const needsRoot = { skip: process.getuid() === 0 ? false : 'commands need root' };

test('an image is run, and stopped', needsRoot, async () => {
  const { store, project } = fresh();
  copyFileSync(process.env.STAGEWRIGHT_TEST_BUSYBOX, join(project, 'busybox'));
  const text = `
    import { Builder, Stage } from 'stagewright';
    const [store, context] = process.argv.slice(1);
    const stage = Stage.scratch().copy('busybox', '/bin/busybox', { chmod: '0755' });
    const image = await new Builder({ store, environment: {} }).build({ context, stage });
    const command = ['/bin/busybox', 'sh', '-c', 'echo $A; exit 4'];
    console.log(await image.run({ command, env: { A: 'given' } }));
    const signal = AbortSignal.timeout(100);
    await image.run({ command: ['/bin/busybox', 'sleep', '1000'], signal }).catch((error) => {
      console.log(error.code, error.cause.name);
    });
  `;
  const ended = spawnSync(process.execPath, ['--input-type=module', '-e', text, store, project], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(ended.stdout, 'given\n4\ncancelled TimeoutError\n', ended.stderr);
});

test('the command is installed', () => {
  const shown = spawnSync('npx', ['--no-install', 'stagewright', '--version'], { encoding: 'utf8' });
  assert.match(shown.stdout, /^stagewright \d/);
  const failed = spawnSync('npx', ['--no-install', 'stagewright', 'build', '/nonexistent']);
  assert.equal(failed.status, 1);
});
