/** What a Dockerfile offers, and what is better avoided in it. */

/** Something in a Dockerfile that better were otherwise. */
export interface Finding {
  readonly rule: string;
  readonly description: string;
  readonly url: string;
  readonly message: string;
  readonly help: string | null;
  readonly line: number;
  readonly endLine: number;
  readonly column: number;
  /** The place in the Dockerfile, ready to print. */
  readonly drawing: string;
}

/** What the build checks found. */
export interface CheckReport {
  readonly findings: readonly Finding[];
  /** The file asks that findings fail the build, and there are some. */
  readonly failed: boolean;
  readonly file: string;
  readonly text: string;
}

/** A stage that can be built. */
export interface Target {
  readonly name: string | null;
  /** It is built when no target is named. */
  readonly isDefault: boolean;
  readonly description: string | null;
  readonly base: string;
  readonly platform: string | null;
  readonly lines: readonly [number, number];
}

/** The stages of a Dockerfile. */
export interface Targets {
  readonly targets: readonly Target[];
  readonly text: string;
}

/** A build argument that a target uses. */
export interface OutlineArg {
  readonly name: string;
  readonly description: string | null;
  readonly value: string | null;
  readonly lines: readonly [number, number];
}

/** A secret, an SSH agent or a cache that steps of a target mount. */
export interface OutlineMount {
  readonly name: string;
  readonly required: boolean;
  readonly lines: readonly [number, number];
}

/** What a target takes. */
export interface Outline {
  readonly name: string | null;
  readonly description: string | null;
  readonly args: readonly OutlineArg[];
  readonly secrets: readonly OutlineMount[];
  readonly ssh: readonly OutlineMount[];
  readonly caches: readonly OutlineMount[];
  readonly text: string;
}
