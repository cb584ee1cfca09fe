/**
 * `realtime-worker/d1`: a D1 database as the source of what is published.
 *
 * @module
 */
export { type Drift, drift } from "./drift.ts";
export type { Casing, ColumnKind, ColumnWords, Kinds, TableWords } from "./schema.ts";
export { type TriggerOptions, type Triggers, triggers } from "./triggers.ts";
