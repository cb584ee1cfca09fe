/**
 * Hooks for React 18 and later. Create the client outside of components, with `createClient`.
 *
 * @module
 */
export type { Draft } from "./drafts.ts";
export type { TableQuery } from "./table-query.ts";
export type { TableState } from "./table-store.ts";
export { usePresence } from "./use-presence.ts";
export { useBroadcast, useChanges, useRealtime } from "./use-realtime.ts";
export { type TableView, useTable } from "./use-table.ts";
export { type TopicState, useTopic } from "./use-topic.ts";
