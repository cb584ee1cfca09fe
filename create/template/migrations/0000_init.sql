CREATE TABLE "tasks" (
	"id" TEXT PRIMARY KEY NOT NULL,
	"organization_id" TEXT NOT NULL,
	"title" TEXT NOT NULL,
	"contact" TEXT NOT NULL,
	"is_done" INTEGER NOT NULL DEFAULT false,
	"created_by" TEXT NOT NULL,
	"created_at" INTEGER NOT NULL
);
CREATE TABLE "user" (
	"id" TEXT PRIMARY KEY NOT NULL,
	"name" TEXT NOT NULL,
	"email" TEXT NOT NULL UNIQUE,
	"email_verified" INTEGER NOT NULL,
	"image" TEXT,
	"created_at" INTEGER NOT NULL,
	"updated_at" INTEGER NOT NULL
);
CREATE TABLE "session" (
	"id" TEXT PRIMARY KEY NOT NULL,
	"expires_at" INTEGER NOT NULL,
	"token" TEXT NOT NULL UNIQUE,
	"created_at" INTEGER NOT NULL,
	"updated_at" INTEGER NOT NULL,
	"ip_address" TEXT,
	"user_agent" TEXT,
	"user_id" TEXT NOT NULL,
	"active_organization_id" TEXT
);
CREATE TABLE "account" (
	"id" TEXT PRIMARY KEY NOT NULL,
	"account_id" TEXT NOT NULL,
	"provider_id" TEXT NOT NULL,
	"user_id" TEXT NOT NULL,
	"access_token" TEXT,
	"refresh_token" TEXT,
	"id_token" TEXT,
	"access_token_expires_at" INTEGER,
	"refresh_token_expires_at" INTEGER,
	"scope" TEXT,
	"password" TEXT,
	"created_at" INTEGER NOT NULL,
	"updated_at" INTEGER NOT NULL
);
CREATE TABLE "verification" (
	"id" TEXT PRIMARY KEY NOT NULL,
	"identifier" TEXT NOT NULL,
	"value" TEXT NOT NULL,
	"expires_at" INTEGER NOT NULL,
	"created_at" INTEGER NOT NULL,
	"updated_at" INTEGER NOT NULL
);
CREATE TABLE "organization" (
	"id" TEXT PRIMARY KEY NOT NULL,
	"name" TEXT NOT NULL,
	"slug" TEXT NOT NULL UNIQUE,
	"logo" TEXT,
	"created_at" INTEGER NOT NULL,
	"metadata" TEXT
);
CREATE TABLE "member" (
	"id" TEXT PRIMARY KEY NOT NULL,
	"organization_id" TEXT NOT NULL,
	"user_id" TEXT NOT NULL,
	"role" TEXT NOT NULL,
	"created_at" INTEGER NOT NULL
);
CREATE TABLE "invitation" (
	"id" TEXT PRIMARY KEY NOT NULL,
	"organization_id" TEXT NOT NULL,
	"email" TEXT NOT NULL,
	"role" TEXT,
	"status" TEXT NOT NULL,
	"expires_at" INTEGER NOT NULL,
	"created_at" INTEGER NOT NULL,
	"inviter_id" TEXT NOT NULL
);
CREATE INDEX "tasks_of_organization" ON "tasks" ("organization_id");
CREATE INDEX "member_of_user" ON "member" ("user_id");
