/** What is announced of the tables, and to whom. The stream and the API's answers obey it alike. */
import { defineTable } from "realtime-worker/server";
import type { tasks } from "./schema.ts";

export const tables = {
	tasks: defineTable<typeof tasks.$inferSelect>({
		organization: "organizationId",
		ownerField: "createdBy",
		// Who has added a task, and admins, see the address; everyone else sees a***@e******.com.
		masking: { contact: { type: "email", show: { roles: ["admin"], or: "owner" } } },
	}),
};
