/**
 * `realtime-worker/view`: the stream's rules for the API's own answers, and the viewer.
 *
 * @module
 */
export { createView, type Seen, type View } from "./view.ts";
export { type BetterAuthMember, type BetterAuthSession, sessionToken, type Viewer, viewer } from "./viewer.ts";
