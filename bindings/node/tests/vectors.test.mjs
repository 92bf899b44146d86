// The vectors that every language runs.
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';

import { Builder, Stage } from 'stagewright';

const root = mkdtempSync(join(tmpdir(), 'stagewright-vectors-'));
after(() => rmSync(root, { recursive: true, force: true }));

const vectors = (name) => JSON.parse(readFileSync(join(process.env.STAGEWRIGHT_TEST_VECTORS, name), 'utf8'));
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
const camelled = (object) =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [camel(name), value]));
const mapped = (object, change) =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]));

const source = (value, stages) => (typeof value === 'object' ? stages[value.stage] : value);
const secret = (value) => value?.text;

function mountOf(described, stages) {
  const [[type, { from, value, ...rest }]] = Object.entries(described);
  const mount = { type, ...camelled(rest) };
  if (from !== undefined) mount.from = source(from, stages);
  if (value !== undefined) mount.value = secret(value);
  return mount;
}

// Says in code what is described.
function stageOf({ base, name, platform, steps = [] }, stages) {
  let stage = Stage.from(source(base, stages), { name, platform });
  for (const step of steps) {
    const [[verb, given]] = Object.entries(step);
    if (verb === 'run') {
      const { command, network, mounts = [] } = given;
      stage = stage.run(command, { network, mounts: mounts.map((one) => mountOf(one, stages)) });
    } else if (verb === 'copy') {
      const { sources, dest, from, ...rest } = given;
      stage = stage.copy(sources, dest, { ...rest, from: from && source(from, stages) });
    } else if (['env', 'arg', 'label'].includes(verb)) {
      stage = stage[verb](given[0], given[1] ?? undefined);
    } else {
      stage = stage[camel(verb)](given);
    }
  }
  return stage;
}

function stagesOf(described) {
  const stages = [];
  for (const one of described) stages.push(stageOf(one, stages));
  return stages;
}

function optionsOf({ stages: described = [], stage, build_contexts, secrets, ...rest }) {
  const stages = stagesOf(described);
  const options = camelled(rest);
  if (stage !== undefined) options.stage = stages[stage];
  if (build_contexts) options.buildContexts = mapped(build_contexts, (it) => source(it, stages));
  if (secrets) options.secrets = mapped(secrets, secret);
  return options;
}

function holds(expected, found) {
  if (Array.isArray(expected)) {
    return expected.length === found.length && expected.every((it, i) => holds(it, found[i]));
  }
  if (expected !== null && typeof expected === 'object') {
    const of = (name) => (name in found ? found[name] : found[camel(name)]);
    return Object.entries(expected).every(([name, value]) => holds(value, of(name)));
  }
  return expected === found;
}

// Reads all events of a build, and checks their order.
async function listen(build, cancel) {
  const told = { executed: [], misses: new Map(), log: '' };
  const names = new Map();
  const opened = new Set();
  const ended = new Set();
  let at = 0;
  for await (const event of build) {
    assert.ok(event.atMs >= at);
    at = event.atMs;
    if (event.kind === 'planned') {
      for (const { id, name, step } of event.vertices) if (step) names.set(id, name);
    } else if (event.kind === 'started') {
      assert.ok(!opened.has(event.vertex));
      opened.add(event.vertex);
    } else if (event.kind === 'log') {
      assert.ok(opened.has(event.vertex));
      told.log += event.text;
      if (cancel !== undefined && told.log.includes(cancel)) build.cancel();
    } else if (event.kind === 'progress') {
      assert.ok(!ended.has(event.vertex));
    } else if (event.kind === 'finished') {
      assert.ok(!ended.has(event.vertex));
      opened.delete(event.vertex);
      ended.add(event.vertex);
      const name = names.get(event.vertex);
      if (name && event.outcome === 'executed') told.executed.push(name);
      if (name && event.miss) told.misses.set(name, event.miss);
    }
  }
  assert.equal(opened.size, 0, 'these began and did not end');
  return told;
}

function checkTold(step, told) {
  if (step.executed) assert.deepEqual(told.executed.sort(), step.executed.sort());
  for (const miss of step.misses ?? []) {
    const found = told.misses.get(miss.step);
    assert.equal(found.reason, miss.reason);
    assert.ok(found.changes.some(({ input, name }) => input === miss.input && name?.includes(miss.name)));
  }
  if (step.counted) {
    assert.equal(told.log, Array.from({ length: step.counted }, (_, i) => `${i + 1}\n`).join(''));
  }
}

function checkImage(step, image) {
  assert.ok(holds(step.config ?? {}, image.config.config), JSON.stringify(image.config));
  if (step.layers !== undefined) assert.equal(image.config.rootfs.diff_ids.length, step.layers);
  if (step.id) assert.equal(image.id, step.id);
  if (step.names) assert.deepEqual(image.names, step.names);
}

function checkError(expected, error) {
  for (const [name, value] of Object.entries(expected)) {
    const found = error[camel(name)];
    const same = ['message', 'help'].includes(name) ? found?.includes(value) : holds(value, found);
    assert.ok(same, `${name} is to be ${value}: ${error.stack}`);
  }
}

function say(call, answer) {
  if (call !== 'explain') return answer;
  return answer.filter((one) => one.miss).map(({ name, miss }) => ({ name, reason: miss.reason }));
}

async function runStep(builder, project, step) {
  for (const [name, text] of Object.entries(step.write ?? {})) {
    mkdirSync(dirname(join(project, name)), { recursive: true });
    writeFileSync(join(project, name), text);
  }
  const request = JSON.stringify(step.request).replaceAll('{project}', project);
  const attempt = async () => {
    const options = optionsOf(JSON.parse(request));
    if (step.call) {
      const answer = say(step.call, await builder[step.call](options));
      assert.ok(holds(step.says, answer), JSON.stringify(answer));
      return;
    }
    const build = builder.start(options);
    const told = await listen(build, step.cancel);
    const image = await build.wait();
    checkTold(step, told);
    checkImage(step, image);
  };
  if (step.error) {
    const error = await attempt().then(() => undefined, (thrown) => thrown);
    assert.ok(error, 'it was built');
    checkError(step.error, error);
  } else {
    await attempt();
  }
}

for (const vector of vectors('stages.json')) {
  test(`stages: ${vector.name}`, () => {
    const written = () => stagesOf(vector.stages).at(-1).toDockerfile();
    if (vector.code) {
      assert.throws(written, { code: vector.code });
    } else {
      assert.equal(written(), vector.dockerfile);
    }
  });
}

let count = 0;
for (const vector of vectors('builds.json')) {
  const skip = vector.commands && process.getuid() !== 0 ? 'commands need root' : false;
  test(`builds: ${vector.name}`, { skip }, async () => {
    const folder = join(root, String(count++));
    const project = join(folder, 'project');
    mkdirSync(project, { recursive: true });
    const builder = new Builder({ store: join(folder, 'store'), environment: {} });
    if (vector.commands) {
      copyFileSync(process.env.STAGEWRIGHT_TEST_BUSYBOX, join(project, 'busybox'));
      chmodSync(join(project, 'busybox'), 0o755);
    }
    for (const step of vector.steps) await runStep(builder, project, step);
  });
}
