/** The native module, as the package of this platform brings it. */

export interface NativeImage {
  describe(): string;
  sizes(): Promise<string>;
  run(options: string): NativeRun;
  exportCache(to: string, isTold: boolean): NativeTransfer;
}

export interface NativeRun {
  result(): Promise<string>;
  cancel(): void;
}

export interface NativeTransfer {
  result(): Promise<string | null>;
  nextEvents(): Promise<string[]>;
}

export interface NativeBuild {
  result(): Promise<NativeImage>;
  nextEvents(): Promise<string[]>;
  dropEvents(): void;
  cancel(): void;
}

export interface NativeBuilder {
  start(request: string): NativeBuild;
  explain(request: string): Promise<string>;
  check(request: string): Promise<string>;
  outline(request: string): Promise<string>;
  targets(request: string): Promise<string>;
  image(name: string): NativeImage;
  images(): Promise<string>;
  tagImage(name: string, newName: string): Promise<null>;
  removeImage(name: string): Promise<null>;
  pullImage(name: string, options: string, isTold: boolean): NativeTransfer;
  loadImages(path: string, options: string, isTold: boolean): NativeTransfer;
  copyImage(source: string, dest: string, options: string, isTold: boolean): NativeTransfer;
  inspectImage(place: string, options: string): Promise<string>;
  cacheUsage(): Promise<string>;
  layerUses(): Promise<string>;
  pruneCache(options: string): Promise<string>;
  verifyCache(repair: boolean): Promise<string>;
  hostReport(): Promise<string>;
}

interface Native {
  NativeBuilder: new (
    store: string | undefined,
    mirrors: string[],
    environment: Record<string, string>,
    storeLimit: number | undefined,
    storeMinFree: number | undefined,
    storeReserved: number | undefined,
  ) => NativeBuilder;
  exportImages(images: NativeImage[], options: string): Promise<string | null>;
  pushImages(images: NativeImage[], options: string, isTold: boolean): NativeTransfer;
  toDockerfile(stages: string): string;
}

function load(): Native {
  const name = `@stagewright/linux-${process.arch}-gnu`;
  try {
    return require(name) as Native;
  } catch (cause) {
    const message = `${name} cannot be loaded; stagewright runs on Linux with glibc, on x64`;
    throw new Error(message, { cause });
  }
}

export const native = load();
