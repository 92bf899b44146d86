/** What a build tells while it runs. */

import type { Finding } from './describe';
import { camelled } from './names';

/** Something that a build does. */
export interface Vertex {
  readonly id: number;
  readonly name: string;
  readonly stage: string;
  readonly inputs: readonly number[];
  readonly line: number | null;
  /** False for what is not a step of the plan: reading the Dockerfile, finding an image. */
  readonly step: boolean;
}

/** One difference between two runs of a step. */
export interface Change {
  readonly input: string;
  readonly name: string | null;
  readonly before: string | null;
  readonly after: string | null;
}

/** Why a result was not in the cache. */
export interface Miss {
  readonly reason: 'first_run' | 'no_cache' | 'changed' | 'too_old' | 'evicted' | 'other';
  readonly text: string;
  readonly changes: readonly Change[];
}

/** What a build would do with one vertex. */
export interface Explained {
  readonly vertex: number;
  readonly name: string;
  readonly stage: string;
  readonly line: number | null;
  readonly inputs: readonly number[];
  readonly verdict: 'hit' | 'miss' | 'depends_on' | 'unknown' | 'source' | 'other';
  readonly miss: Miss | null;
  /** The vertices whose results it waits for. */
  readonly dependsOn: readonly number[] | null;
  /** Why nothing can be said. */
  readonly why: string | null;
}

interface Told {
  /** Milliseconds since the build began. */
  readonly atMs: number;
}

/** More vertices are known. */
export interface Planned extends Told {
  readonly kind: 'planned';
  readonly vertices: readonly Vertex[];
}

/** A vertex began. */
export interface Started extends Told {
  readonly kind: 'started';
  readonly vertex: number;
}

/** A step wrote to its standard output or error. */
export interface Log extends Told {
  readonly kind: 'log';
  readonly vertex: number;
  readonly stream: 'stdout' | 'stderr';
  readonly text: string;
}

/** Bytes were moved. */
export interface Progress extends Told {
  readonly kind: 'progress';
  readonly vertex: number;
  readonly label: string;
  readonly currentBytes: number;
  readonly totalBytes: number | null;
}

/** A vertex ended. */
export interface Finished extends Told {
  readonly kind: 'finished';
  readonly vertex: number;
  readonly outcome: 'hit' | 'executed' | 'shared' | 'failed' | 'cancelled' | 'other';
  readonly miss: Miss | null;
  readonly message: string | null;
}

/** Something that does not stop the build and that a person should know. */
export interface Warning extends Told {
  readonly kind: 'warning';
  readonly message: string;
  readonly line: number | null;
  /** What a build check found, if it was one that warns. */
  readonly finding: Finding | null;
}

export type Event = Planned | Started | Log | Progress | Finished | Warning;

/** @internal */
export function readEvent(text: string): Event {
  return camelled(JSON.parse(text)) as Event;
}
