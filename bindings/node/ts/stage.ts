import { calling, wrongType } from './errors';
import { snaked } from './names';
import { native } from './native';
import { checked, written } from './options';

/** A text for the shell, or a program and its arguments. */
export type Command = string | readonly string[];

/** The value of a secret: a text, bytes, or the content of a file. */
export type SecretValue = string | Uint8Array | { file: string };

/** @internal */
export function secretJson(value: SecretValue): unknown {
  if (typeof value === 'string') {
    return { text: value };
  }
  return value instanceof Uint8Array ? { bytes: [...value] } : { file: value.file };
}

/** Something that a command sees besides the files of its stage. */
export type Mount =
  | { type: 'cache'; target: string; id?: string; sharing?: 'shared' | 'private' | 'locked' }
  | { type: 'bind'; target: string; from?: string | Stage; source?: string; writable?: boolean }
  | { type: 'tmpfs'; target: string; sizeBytes?: number }
  | { type: 'secret'; id: string; target?: string; env?: string; value?: SecretValue };

export interface RunOptions {
  mounts?: readonly Mount[];
  network?: 'default' | 'host' | 'none';
}

export interface CopyOptions {
  from?: string | Stage;
  chown?: string;
  chmod?: string;
  link?: boolean;
  parents?: boolean;
  exclude?: readonly string[];
}

export interface StageOptions {
  name?: string;
  platform?: string;
}

type Step = (table: Table) => unknown;

/**
 * A stage of a build, as a value: each method returns a longer stage.
 *
 * `$NAME` in arguments stands for a variable as in a Dockerfile, and `\$` for a dollar. Commands
 * of `run` belong to the shell entirely.
 */
export class Stage {
  readonly #base: string | Stage;
  readonly #options: StageOptions;
  readonly #steps: readonly Step[];

  /** @internal */
  constructor(base: string | Stage, options: StageOptions = {}, steps: readonly Step[] = []) {
    if (typeof base !== 'string' && !(base instanceof Stage)) {
      throw wrongType(`a stage starts from a name or a stage, not ${typeof base}`);
    }
    this.#base = base;
    this.#options = checked('a stage', options);
    this.#steps = steps;
  }

  /** Starts from an image, a stage of the build's Dockerfile, or another stage. */
  static from(base: string | Stage, options: StageOptions = {}): Stage {
    return new Stage(base, options);
  }

  /** Starts from nothing. */
  static scratch(options: StageOptions = {}): Stage {
    return new Stage('scratch', options);
  }

  #with(step: Step): Stage {
    return new Stage(this.#base, this.#options, [...this.#steps, step]);
  }

  /** Gives the stage a name, for events and for `noCacheFilter`. */
  named(name: string): Stage {
    return new Stage(this.#base, { ...this.#options, name }, this.#steps);
  }

  /** Runs a command: a text in the shell, or a list without one. */
  run(command: Command, options: RunOptions = {}): Stage {
    const { mounts = [], network } = checked('run', options, ['mounts', 'network']);
    return this.#with((table) => ({
      run: { command, network, mounts: mounts.map((mount) => mountJson(mount, table)) },
    }));
  }

  /** Copies files. */
  copy(sources: string | readonly string[], dest: string, options: CopyOptions = {}): Stage {
    const { from, ...rest } = checked('copy', options);
    const list = typeof sources === 'string' ? [sources] : sources;
    return this.#with((table) => ({
      copy: { sources: list, dest, ...rest, from: from && table.name(from) },
    }));
  }

  /** Sets the working directory, and makes it. */
  workdir(path: string): Stage {
    return this.#with(() => ({ workdir: path }));
  }

  /** Sets a variable of the environment. */
  env(name: string, value: string): Stage {
    return this.#with(() => ({ env: [name, value] }));
  }

  /** Declares a build argument. */
  arg(name: string, value?: string): Stage {
    return this.#with(() => ({ arg: [name, value ?? null] }));
  }

  /** Sets a label. */
  label(name: string, value: string): Stage {
    return this.#with(() => ({ label: [name, value] }));
  }

  /** Sets the user of what follows and of the image. */
  user(user: string): Stage {
    return this.#with(() => ({ user }));
  }

  /** Names a port that the image listens on. */
  expose(port: number | string): Stage {
    return this.#with(() => ({ expose: String(port) }));
  }

  /** Names a folder that a container keeps apart. */
  volume(path: string): Stage {
    return this.#with(() => ({ volume: path }));
  }

  /** Sets the signal that stops a container. */
  stopSignal(signal: string): Stage {
    return this.#with(() => ({ stop_signal: signal }));
  }

  /** Sets the shell of commands that are texts. */
  shell(argv: readonly string[]): Stage {
    return this.#with(() => ({ shell: argv }));
  }

  /** Sets the command of the image. */
  cmd(command: Command): Stage {
    return this.#with(() => ({ cmd: command }));
  }

  /** Sets the entrypoint of the image. */
  entrypoint(command: Command): Stage {
    return this.#with(() => ({ entrypoint: command }));
  }

  /** Adds an instruction as it is written in a Dockerfile. */
  instruction(text: string): Stage {
    return this.#with(() => ({ instruction: text }));
  }

  /** Returns the Dockerfile that says the same. */
  toDockerfile(): string {
    const table = new Table();
    table.name(this);
    return calling(() => native.toDockerfile(written(table.stages)));
  }

  /** @internal */
  describe(table: Table): unknown {
    return {
      base: table.name(this.#base),
      ...this.#options,
      steps: this.#steps.map((step) => step(table)),
    };
  }
}

function mountJson(mount: Mount, table: Table): unknown {
  switch (mount.type) {
    case 'cache': {
      const { type, ...rest } = mount;
      return { cache: rest };
    }
    case 'bind': {
      const { type, from, ...rest } = mount;
      return { bind: { ...rest, from: from && table.name(from) } };
    }
    case 'tmpfs': {
      const { type, ...rest } = mount;
      return { tmpfs: snaked(rest) };
    }
    case 'secret': {
      const { type, value, ...rest } = mount;
      return { secret: { ...rest, value: value === undefined ? null : secretJson(value) } };
    }
    default: {
      const { type } = mount as { type?: unknown };
      throw wrongType(`a mount has the type cache, bind, tmpfs or secret, not ${JSON.stringify(type)}`);
    }
  }
}

/**
 * Stages as a list in which each comes after those that it needs.
 * @internal
 */
export class Table {
  readonly stages: unknown[] = [];
  readonly #known = new Map<Stage, number>();

  name(stage: string | Stage): string | { stage: number } {
    if (typeof stage === 'string') {
      return stage;
    }
    let index = this.#known.get(stage);
    if (index === undefined) {
      const described = stage.describe(this);
      index = this.stages.push(described) - 1;
      this.#known.set(stage, index);
    }
    return { stage: index };
  }
}
