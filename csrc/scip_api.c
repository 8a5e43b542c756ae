#define _GNU_SOURCE
#include "scip_api.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

revi_scip_api scip_api;

static const struct {
    const char *name;
    size_t offset;
} entries[] = {
#define REVI_ENTRY(result, name, arguments) {#name, offsetof(revi_scip_api, name)},
    REVI_SCIP_FUNCTIONS(REVI_ENTRY)
#undef REVI_ENTRY
};

const char *revi_scip_load(const char *host)
{
    /* A handle of an already loaded object searches that object and its dependencies, libscip among them. */
    void *handle = dlopen(host, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == NULL)
        return "";

    revi_scip_api found;
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); ++i) {
        void *symbol = dlsym(handle, entries[i].name);
        if (symbol == NULL) {
            dlclose(handle);
            return entries[i].name;
        }
        /* memcpy: ISO C has no conversion from an object pointer to a function pointer. */
        memcpy((char *)&found + entries[i].offset, &symbol, sizeof(symbol));
    }
    scip_api = found;
    dlclose(handle); /* drops our reference only; PySCIPOpt's keeps the library loaded */
    return NULL;
}

const char *revi_scip_path(void)
{
    Dl_info info;
    void *symbol;
    memcpy(&symbol, &scip_api.SCIPmajorVersion, sizeof(symbol));
    if (symbol == NULL || dladdr(symbol, &info) == 0)
        return NULL;
    return info.dli_fname;
}
