import { awaiting } from './errors';
import { camelled } from './names';
import type { NativeImage } from './native';

export type Compression = 'gzip' | 'zstd' | 'estargz' | 'uncompressed';

/** How an image is written out. */
export interface ExportOptions {
  kind?: 'oci_directory' | 'oci_archive' | 'docker_archive' | 'directory' | 'tar';
  names?: string[];
  compression?: Compression;
  /** The image is a cache, too, for the `cacheFrom` of other builds. */
  inlineCache?: boolean;
}

/** How an image is pushed. */
export interface PushOptions {
  names?: string[];
  compression?: Compression;
  byDigest?: boolean;
  insecure?: boolean;
  /** The image is a cache, too, for the `cacheFrom` of other builds. */
  inlineCache?: boolean;
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

  /** Writes the image out and returns the digest of its manifest, if it has one. */
  export(dest: string, options: ExportOptions = {}): Promise<string | null> {
    const { kind = 'oci_directory', inlineCache = false, ...rest } = options;
    return awaiting(this.#native.export(JSON.stringify({ kind, dest, inline_cache: inlineCache, ...rest })));
  }

  /** Pushes the image to the registries of its names; returns the digest. */
  push(options: PushOptions = {}): Promise<string | null> {
    const { byDigest = false, inlineCache = false, ...rest } = options;
    const push = { by_digest: byDigest, inline_cache: inlineCache, ...rest };
    return awaiting(this.#native.push(JSON.stringify(push)));
  }

  /**
   * Exports the cache of the build that made the image; returns the digest of its manifest. `to` is
   * what `--cache-to` takes: `type=registry,ref=REF,mode=max`, `type=local,dest=FOLDER`. Only an image
   * that was just built has a cache.
   */
  exportCache(to: string): Promise<string | null> {
    return awaiting(this.#native.exportCache(to));
  }
}
