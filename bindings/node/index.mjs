// The package for `import`; `index.test.mjs` checks that nothing is missing here.
import library from './index.js';

export const {
  Build,
  BuildCancelledError,
  Builder,
  DockerfileError,
  ExportError,
  FetchError,
  Image,
  ImageError,
  InternalError,
  NotFoundError,
  RegistryError,
  RequestError,
  SandboxError,
  Stage,
  StagewrightError,
  StepFailedError,
  StoreError,
  UnsupportedError,
  exportImages,
  pushImages,
} = library;
