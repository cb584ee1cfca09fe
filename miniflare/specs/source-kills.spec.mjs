/**
 * Everything between a writer and a client is killed at random; `node miniflare/kills.mjs` runs more of it.
 */
import { test } from "node:test";
import { kills } from "../kills.mjs";

test("each committed change comes once and in order, whatever dies", (t) => kills(1_500, (line) => t.diagnostic(line)));
