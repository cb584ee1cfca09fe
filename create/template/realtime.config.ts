/** What `npx realtime-worker` reads: the realtime Worker's rules, and the schema that its triggers are made of. */
import * as schema from "./src/server/schema.ts";
import { tables } from "./src/server/tables.ts";

export default { name: "realtime-worker", schema, tables };
