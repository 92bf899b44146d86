import { Build } from './build';
import type { CheckReport, Outline, Targets } from './describe';
import { awaiting, calling, wrongType } from './errors';
import type { Explained } from './events';
import { Image } from './image';
import { camelled, snaked } from './names';
import { native, type NativeBuilder } from './native';
import { checked, written } from './options';
import { type SecretValue, secretJson, Stage, Table } from './stage';
import { split, transferred, type TransferOptions } from './transfer';

export interface BuilderOptions {
  /** The folder of the store; that of the command if absent. */
  store?: string;
  /** Where images of a registry are asked for first. */
  registryMirrors?: Record<string, string>;
  /** In place of `process.env`, which says where the store, logins, proxies and certificates are. */
  environment?: Record<string, string | undefined>;
  /**
   * What the store takes above this goes after a build. A tenth of the disk and at most 20 GiB is
   * usual, 0 is no limit.
   */
  storeLimit?: number;
  /**
   * How many bytes are to be free on the store's disk: where less is, what nobody needs goes before
   * and after a build. A twentieth of the disk and at most 10 GiB is usual.
   */
  storeMinFree?: number;
  /** What the store may take however little is free; half of the limit is usual. */
  storeReserved?: number;
}

/** What a build is asked to do. */
export interface BuildOptions {
  /** The context: a folder, or the address of a repository. */
  context?: string;
  /** The context as a tar archive. */
  contextArchive?: string;
  /** The Dockerfile: a path in the context, or an absolute one. */
  dockerfile?: string;
  /** The Dockerfile's text. */
  dockerfileText?: string;
  /** What of the context is left out, in place of its ignore file. */
  ignoreFile?: string;
  /** A stage in code, built instead of a Dockerfile, or on one that is named as well. */
  stage?: Stage;
  buildContexts?: Record<string, string | Stage>;
  target?: string;
  buildArgs?: Record<string, string>;
  labels?: Record<string, string>;
  /** Variables that the image has not. Steps see them all the same. */
  unsetEnv?: readonly string[];
  /** Labels that the image has not. */
  unsetLabels?: readonly string[];
  /** Take over the labels of what a stage starts from; usual. */
  inheritLabels?: boolean;
  /** The layers of the build become one (`true`, `new`), or those of the base too (`all`). */
  squash?: boolean | 'new' | 'all';
  tags?: readonly string[];
  platform?: string;
  noCache?: boolean;
  noCacheFilter?: readonly string[];
  /** Commands run again whose results were made longer ago. */
  cacheTtlMs?: number;
  pull?: boolean;
  /** Caches of other builds: a reference, or what `--cache-from` takes. */
  cacheFrom?: readonly string[];
  network?: 'default' | 'host' | 'none' | 'pasta' | 'slirp4netns';
  secrets?: Record<string, SecretValue>;
  /** The socket of an ssh agent, or files of keys, by id. */
  ssh?: Record<string, readonly string[]>;
  extraHosts?: Record<string, string>;
  /** Name servers of steps, by address; `none` leaves the image's `/etc/resolv.conf` as it is. */
  dns?: readonly string[];
  dnsSearch?: readonly string[];
  dnsOptions?: readonly string[];
  shmBytes?: number;
  /** The most memory of a step; it needs a cgroup, as the next seven do. */
  memoryBytes?: number;
  /** The most memory and swap together; -1 does not limit swap. */
  memorySwapBytes?: number;
  cpuShares?: number;
  cpuQuotaUs?: number;
  cpuPeriodUs?: number;
  cpusetCpus?: string;
  cpusetMems?: string;
  /** The cgroup that those of steps are made in. */
  cgroupParent?: string;
  /** As `[name, soft, hard]`. */
  ulimits?: readonly (readonly [string, number, number])[];
  /** Folders and files of the host that steps see, as `--volume` has them: `SOURCE:TARGET`, `SOURCE:TARGET:ro`. */
  volumes?: readonly string[];
  /** Devices of the host that steps may use: `DEVICE` or `DEVICE:TARGET`. */
  devices?: readonly string[];
  /** A step that takes longer is ended, and the build fails. */
  stepTimeoutMs?: number;
  /** How much of what a step writes is told: 2 MiB by default, all if 0. */
  stepLogBytesMax?: number;
  jobs?: number;
  sourceDateEpoch?: number;
  /** The same image whenever and wherever it is built. */
  reproducible?: boolean;
  /** How the image was made goes with it: a boolean, or what `--provenance` takes. */
  provenance?: boolean | string;
  /** A list of the packages in the image goes with it. */
  sbom?: boolean;
  allow?: readonly string[];
  /** Stops the build. */
  signal?: AbortSignal;
}

/** How images are copied. */
export interface CopyOptions extends TransferOptions {
  /** Only the image of this platform. */
  platform?: string;
  /** Plain HTTP and untrusted certificates will do. */
  insecure?: boolean;
}

/** How an image is looked at. */
export interface InspectOptions {
  /** Only the image of this platform. */
  platform?: string;
  /** Plain HTTP and untrusted certificates will do. */
  insecure?: boolean;
  /** The attestations are read, too. */
  predicates?: boolean;
}

/** What is attested of an image. */
export interface InspectedAttestation {
  predicateType: string;
  digest?: string;
  predicate?: unknown;
}

/** The image of a platform, as it is in some place. */
export interface InspectedPlatform {
  platform: string;
  id: string;
  digest?: string;
  layers?: readonly unknown[];
  attestations: readonly InspectedAttestation[];
}

/** An image as it is in some place; that of the host's platform first. */
export interface InspectedImage extends InspectedPlatform {
  names: readonly string[];
  mediaType?: string;
  /** The config, as the OCI image specification has it. */
  config: unknown;
  platforms: readonly InspectedPlatform[];
}

/** A name of the store. */
export interface NamedEntry {
  name: string;
  id: string;
  taggedUnixMs: number;
  bytes: number;
}

/** How many things of a kind the store holds, and what they take. */
export interface Room {
  count: number;
  bytes: number;
  /** Of these, what images with names need. */
  sharedBytes: number;
  /** Of these, what could be removed now. */
  reclaimableBytes: number;
}

/** What the store takes on disk. */
export interface CacheUsage {
  layers: Room;
  blobs: Room;
  cacheMounts: Room;
  contexts: Room;
  records: Room;
  totalBytes: number;
}

/** When and how often a layer was used. */
export interface LayerUse {
  id: string;
  bytes: number;
  lastUsedUnixMs: number;
  uses: number;
}

export type CacheItemKind = 'layer' | 'base_layer' | 'blob' | 'cache_mount' | 'context';

/** What is pruned. */
export interface PruneOptions {
  /** Also base images, and results of steps that made no files. */
  all?: boolean;
  /** Stop when the store takes no more than this. */
  maxUsedBytes?: number;
  /** Stop when so much is free on the store's disk; if it is, nothing goes. */
  minFreeBytes?: number;
  /** What the store may keep in any case. */
  reservedBytes?: number;
  /** Only what was last used before this time. */
  usedBeforeUnixMs?: number;
  /** Only things of these kinds. */
  kinds?: readonly CacheItemKind[];
  /** Only things whose names begin so. */
  ids?: readonly string[];
}

/** What was pruned. */
export interface Pruned {
  items: { kind: CacheItemKind; id: string; bytes: number; lastUsedUnixMs: number }[];
  bytes: number;
  /** What the store still takes. */
  leftBytes: number;
}

export interface CacheVerification {
  checked: number;
  damaged: { path: string; reason: string }[];
}

export interface HostReport {
  mode: string;
  reason: string;
  findings: { name: string; works: boolean }[];
}

function request(options: BuildOptions): string {
  const given = checked('a build', options);
  const { signal, stage, buildContexts = {}, secrets = {}, ...rest } = given;
  const table = new Table();
  const contexts = Object.entries(buildContexts).map(([name, it]) => [name, table.name(it)]);
  const chosen = stage && (table.name(stage) as { stage: number }).stage;
  const values = Object.entries(secrets).map(([id, value]) => [id, secretJson(value)]);
  return written({
    ...snaked(rest),
    stages: table.stages,
    stage: chosen,
    build_contexts: Object.fromEntries(contexts),
    secrets: Object.fromEntries(values),
  });
}

/** Builds images. */
export class Builder {
  readonly #native: NativeBuilder;

  /** Opens a store, or makes it. */
  constructor(options: BuilderOptions = {}) {
    const names = ['store', 'registryMirrors', 'environment', 'storeLimit', 'storeMinFree', 'storeReserved'];
    const given = checked('a builder', options, names);
    const { store, registryMirrors = {}, environment = process.env } = given;
    const { storeLimit, storeMinFree, storeReserved } = given;
    for (const [name, bytes] of Object.entries({ storeLimit, storeMinFree, storeReserved })) {
      if (bytes !== undefined && bytes !== null && !(Number.isSafeInteger(bytes) && bytes >= 0)) {
        throw wrongType(`${name} is a number of bytes, not ${String(bytes)}`);
      }
    }
    const mirrors = Object.entries(registryMirrors).map(([name, place]) => `${name}=${place}`);
    const variables: Record<string, string> = {};
    for (const [name, value] of Object.entries(environment)) {
      if (value !== undefined) {
        variables[name] = value;
      }
    }
    this.#native = calling(
      () => new native.NativeBuilder(store, mirrors, variables, storeLimit, storeMinFree, storeReserved),
    );
  }

  /** Builds an image. */
  async build(options: BuildOptions): Promise<Image> {
    return this.start(options).wait();
  }

  /** Starts a build at once and returns it. */
  start(options: BuildOptions): Build {
    return new Build(calling(() => this.#native.start(request(options))), options.signal);
  }

  /** Says what a build would do, and why, without doing it. */
  async explain(options: BuildOptions): Promise<Explained[]> {
    return camelled(JSON.parse(await awaiting(this.#native.explain(request(options)))));
  }

  /** Runs the build checks on what would be built. */
  async check(options: BuildOptions): Promise<CheckReport> {
    return camelled(JSON.parse(await awaiting(this.#native.check(request(options)))));
  }

  /** Says what the target takes: arguments, secrets, SSH agents, caches. */
  async outline(options: BuildOptions): Promise<Outline> {
    return camelled(JSON.parse(await awaiting(this.#native.outline(request(options)))));
  }

  /** Lists the stages that could be built. */
  async targets(options: BuildOptions): Promise<Targets> {
    return camelled(JSON.parse(await awaiting(this.#native.targets(request(options)))));
  }

  /** Finds an image by its name in the store. */
  image(name: string): Image {
    return new Image(calling(() => this.#native.image(name)));
  }

  /** Lists the names in the store. */
  async images(): Promise<NamedEntry[]> {
    return camelled(JSON.parse(await awaiting(this.#native.images())));
  }

  /** Gives an image another name. */
  async tagImage(name: string, newName: string): Promise<void> {
    await awaiting(this.#native.tagImage(name, newName));
  }

  /** Removes a name from the store. */
  async removeImage(name: string): Promise<void> {
    await awaiting(this.#native.removeImage(name));
  }

  /** Pulls an image from its registry into the store, under its name. */
  async pullImage(name: string, options: CopyOptions = {}): Promise<void> {
    const [asked, onEvent] = split('pullImage', options);
    await transferred((isTold) => this.#native.pullImage(name, asked, isTold), onEvent);
  }

  /** Loads the images of an archive or layout into the store, and returns their names. */
  async loadImages(path: string, options: CopyOptions = {}): Promise<string[]> {
    const [asked, onEvent] = split('loadImages', options);
    const names = await transferred((told) => this.#native.loadImages(path, asked, told), onEvent);
    return JSON.parse(names ?? '[]');
  }

  /**
   * Copies an image from one place to another, and returns its digest. Places are names in the store,
   * `docker://NAME`, `oci:PATH[:NAME]`, `oci-archive:FILE`, `docker-archive:FILE`,
   * `containers-storage:NAME` and `docker-daemon:NAME`.
   */
  async copyImage(
    source: string,
    dest: string,
    options: CopyOptions = {},
  ): Promise<string | null> {
    const [asked, onEvent] = split('copyImage', options);
    return transferred((told) => this.#native.copyImage(source, dest, asked, told), onEvent);
  }

  /** Looks at an image in any place: its config, platforms, and what is attested of it. */
  async inspectImage(place: string, options: InspectOptions = {}): Promise<InspectedImage> {
    const asked = written(checked('inspectImage', options));
    return JSON.parse(await awaiting(this.#native.inspectImage(place, asked)));
  }

  /** Measures what the store takes on disk. */
  async cacheUsage(): Promise<CacheUsage> {
    return camelled(JSON.parse(await awaiting(this.#native.cacheUsage())));
  }

  /** Lists the layers of the store, the least recently used first. */
  async layerUses(): Promise<LayerUse[]> {
    return camelled(JSON.parse(await awaiting(this.#native.layerUses())));
  }

  /** Removes from the store what nobody needs, the least recently used first. */
  async pruneCache(options: PruneOptions = {}): Promise<Pruned> {
    const asked = written(snaked(checked('pruneCache', options)));
    return camelled(JSON.parse(await awaiting(this.#native.pruneCache(asked))));
  }

  /** Checks what the store holds against its digests. */
  async verifyCache(options: { repair?: boolean } = {}): Promise<CacheVerification> {
    const { repair = false } = checked('verifyCache', options, ['repair']);
    return JSON.parse(await awaiting(this.#native.verifyCache(repair)));
  }

  /** Says what this host can do for steps. */
  async hostReport(): Promise<HostReport> {
    return JSON.parse(await awaiting(this.#native.hostReport()));
  }
}
