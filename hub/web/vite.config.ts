// src -> dist: hashed files, nothing inline (the hub sends `default-src 'self'`), nothing from another origin.
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    target: "es2020", // Chrome 80 and Safari 13.1: the cheap phones of 2020
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
  server: { host: "127.0.0.1", proxy: { "/api": "http://127.0.0.1:8000" } },
});
