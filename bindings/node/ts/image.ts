import { awaiting, calling, made, wrongType } from './errors';
import { camelled, snaked } from './names';
import { native, type NativeImage } from './native';
import { checked, written } from './options';
import { split, transferred, type TransferOptions } from './transfer';

export type Compression = 'gzip' | 'zstd' | 'estargz' | 'uncompressed';

/** The form in which an image leaves the store. */
export interface FormOptions {
  /** Names that it carries in place of its own. */
  names?: readonly string[];
  compression?: Compression;
  compressionLevel?: number;
  /** Compress the layers of base images anew where they came in another form. */
  forceCompression?: boolean;
  ociMediaTypes?: boolean;
  /** No file of a layer made by the build is later than this, in seconds since 1970. */
  latestFileTime?: number;
  /** By key, or by `LEVEL:KEY` with a level that `--annotation` takes. */
  annotations?: Record<string, string>;
  /** The image is a cache, too, for the `cacheFrom` of other builds. */
  inlineCache?: boolean;
}

/** How an image is written out. */
export interface ExportOptions extends FormOptions {
  kind?: 'oci_directory' | 'oci_archive' | 'docker_archive' | 'directory' | 'tar';
}

/** How an image is pushed. */
export interface PushOptions extends FormOptions, TransferOptions {
  /** Give the image no tag. */
  byDigest?: boolean;
  /** Plain HTTP and untrusted certificates will do. */
  insecure?: boolean;
}

/** How an image is run. */
export interface ImageRunOptions {
  /** The command, in place of the image's. */
  command?: readonly string[];
  env?: Record<string, string>;
  user?: string;
  workdir?: string;
  /** Stops it. */
  signal?: AbortSignal;
}

/** How large an image is. */
export interface Sizes {
  layers: { createdBy: string; diffId: string; bytes: number }[];
  totalBytes: number;
  stages: { name: string; bytes: number }[];
  savedBytes: number;
}

/** An image that was built, or that has a name in the store. */
export class Image {
  readonly #native: NativeImage;
  /** The digest of the config: Docker's image id. */
  readonly id: string;
  /** The names in the store. */
  readonly names: readonly string[];
  /** The config, as in the OCI image specification. */
  readonly config: Record<string, any>;

  /** @internal */
  get native(): NativeImage {
    return this.#native;
  }

  /** @internal */
  constructor(native: NativeImage) {
    this.#native = native;
    const { id, names, config } = JSON.parse(native.describe());
    this.id = id;
    this.names = names;
    this.config = config;
  }

  /** Says how large the image is, by layer and by stage. */
  async sizes(): Promise<Sizes> {
    return camelled(JSON.parse(await awaiting(this.#native.sizes())));
  }

  /**
   * Runs the image on this process's standard streams, and returns the exit code. What it writes to
   * its files is thrown away.
   */
  async run(options: ImageRunOptions = {}): Promise<number> {
    const { signal, ...rest } = checked('run', options);
    const run = calling(() => this.#native.run(written(snaked(rest))));
    const abort = () => run.cancel();
    if (signal?.aborted) {
      abort();
    }
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return Number(await run.result());
    } catch (thrown) {
      throw made(thrown, signal?.aborted ? { cause: signal.reason } : undefined);
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Writes the image out and returns the digest of its manifest, if it has one. */
  export(dest: string, options: ExportOptions = {}): Promise<string | null> {
    return exportImages([this], dest, options);
  }

  /** Pushes the image to the registries of its names; returns the digest. */
  push(options: PushOptions = {}): Promise<string | null> {
    return pushImages([this], options);
  }

  /**
   * Exports the cache of the build that made the image; returns the digest of its manifest. `to` is
   * what `--cache-to` takes: `type=registry,ref=REF,mode=max`, `type=local,dest=FOLDER`. Only an image
   * that was just built has a cache.
   */
  async exportCache(to: string, options: TransferOptions = {}): Promise<string | null> {
    const { onEvent } = checked('exportCache', options, ['onEvent']);
    return transferred((isTold) => this.#native.exportCache(to, isTold), onEvent);
  }
}

const natives = (images: readonly Image[]) =>
  images.map((image) => {
    if (!(image instanceof Image)) {
      throw wrongType(`an Image is needed, not ${typeof image}`);
    }
    return image.native;
  });

/** Writes images of several platforms out as one; returns the digest of the index. */
export async function exportImages(
  images: readonly Image[],
  dest: string,
  options: ExportOptions = {},
): Promise<string | null> {
  const text = written({ kind: 'oci_directory', ...snaked(checked('an export', options)), dest });
  return awaiting(native.exportImages(natives(images), text));
}

/** Pushes images of several platforms as one; returns the digest of the index. */
export async function pushImages(
  images: readonly Image[],
  options: PushOptions = {},
): Promise<string | null> {
  const [asked, onEvent] = split('a push', options);
  return transferred((isTold) => native.pushImages(natives(images), asked, isTold), onEvent);
}
