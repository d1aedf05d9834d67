// src -> dist: hashed files, nothing inline (the hub sends `default-src 'self'`), nothing from another origin.
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    target: "es2022", // Chrome 94 and Safari 15.4: phones of 2021, and older ones that update their browser
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    // What only those who sign in load says so in its name: the budgets of both are tested.
    rollupOptions: {
      output: {
        chunkFileNames: ({ moduleIds }) =>
          moduleIds.some((id) => id.includes("/src/desk/")) ? "assets/desk-[name]-[hash].js" : "assets/[name]-[hash].js",
      },
    },
  },
  server: { host: "127.0.0.1", proxy: { "/api": "http://127.0.0.1:8000" } },
});
