/** Container images from Dockerfiles, built inside your process: no daemon, no Docker. */

export { Build } from './build';
export {
  Builder,
  type BuilderOptions,
  type BuildOptions,
  type CacheItemKind,
  type CacheUsage,
  type CacheVerification,
  type HostReport,
  type LayerUse,
  type NamedEntry,
  type PruneOptions,
  type Pruned,
  type Room,
} from './builder';
export type {
  CheckReport,
  Finding,
  Outline,
  OutlineArg,
  OutlineMount,
  Target,
  Targets,
} from './describe';
export {
  BuildCancelledError,
  DockerfileError,
  ExportError,
  FetchError,
  ImageError,
  InternalError,
  NotFoundError,
  RegistryError,
  RequestError,
  SandboxError,
  StagewrightError,
  StepFailedError,
  StoreError,
  UnsupportedError,
} from './errors';
export type {
  Change,
  Event,
  Explained,
  Finished,
  Log,
  Miss,
  Planned,
  Progress,
  Started,
  Vertex,
  Warning,
} from './events';
export {
  type Compression,
  exportImages,
  type ExportOptions,
  type FormOptions,
  Image,
  type ImageRunOptions,
  pushImages,
  type PushOptions,
  type Sizes,
} from './image';
export {
  type Command,
  type CopyOptions,
  type Mount,
  type RunOptions,
  type SecretValue,
  Stage,
  type StageOptions,
} from './stage';
export type { TransferOptions } from './transfer';
