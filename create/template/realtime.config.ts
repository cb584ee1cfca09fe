/** The configuration that `npx realtime-worker` reads: the realtime Worker's rules, and the schema for its triggers. */
import * as schema from "./src/server/schema.ts";
import { tables } from "./src/server/tables.ts";

export default { name: "realtime-worker", schema, tables };
