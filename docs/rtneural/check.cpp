// Loads every model that `litmotif export rtneural` left in a folder, and checks it on its golden frames.
//
//     check FOLDER
//
// Prints the largest difference (relative where an output is above 1) and the time a frame; the exit
// status is 1 where a model differs by more than 1e-5.

#include <RTNeural/RTNeural.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Frame = std::vector<float>;

namespace
{

constexpr double tolerance = 1e-5;

Json read(const fs::path& path)
{
    std::ifstream stream(path);
    if(!stream)
        throw std::runtime_error(path.string() + " cannot be opened");
    return Json::parse(stream);
}

// Backends read a frame in aligned blocks, so that it may not lie at any odd place of memory.
struct alignas(64) Block
{
    float values[16];
};

bool check(const fs::path& sidecar_path)
{
    const auto folder = sidecar_path.parent_path();
    const auto sidecar = read(sidecar_path);
    const auto golden = read(folder / sidecar.at("golden").at("json").get<std::string>());
    const auto inputs = golden.at("inputs").get<std::vector<Frame>>();
    const auto outputs = golden.at("outputs").get<std::vector<Frame>>();

    auto model = RTNeural::json_parser::parseJson<float>(read(folder / sidecar.at("file").get<std::string>()));
    const auto in_size = sidecar.at("input").at("size").get<std::size_t>();
    const auto out_size = sidecar.at("output").at("size").get<std::size_t>();
    if(!model || model->layers.size() != sidecar.at("runtime_layers").get<std::size_t>())
        throw std::runtime_error("the runtime does not hold all layers of " + sidecar_path.string());
    if(static_cast<std::size_t>(model->getInSize()) != in_size || static_cast<std::size_t>(model->getOutSize()) != out_size)
        throw std::runtime_error("the model is not the one of " + sidecar_path.string());

    std::vector<Block> input(in_size / 16 + 1);
    auto* frame = input.front().values;
    double largest = 0.0;
    model->reset(); // before the first frame of each piece: layers remember what they have heard
    const auto start = std::chrono::steady_clock::now();
    for(std::size_t t = 0; t < inputs.size(); ++t)
    {
        std::copy(inputs[t].begin(), inputs[t].end(), frame);
        model->forward(frame);
        const auto* out = model->getOutputs();
        for(std::size_t k = 0; k < out_size; ++k)
        {
            const auto golden_out = static_cast<double>(outputs[t][k]);
            const auto scale = std::max(std::abs(golden_out), 1.0);
            const auto difference = std::abs(static_cast<double>(out[k]) - golden_out) / scale;
            largest = difference <= largest ? largest : difference; // keeps NaN, unlike std::max
        }
    }
    const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - start;
    const bool good = largest <= tolerance;
    std::printf("%-24s %5zu frames  largest difference %.2e  %8.1f us/frame  %s\n",
        sidecar.at("name").get<std::string>().c_str(), inputs.size(), largest,
        spent.count() / static_cast<double>(inputs.size()), good ? "ok" : "DIFFERS");
    return good;
}

} // namespace

int main(int argc, char** argv)
{
    if(argc != 2)
    {
        std::fprintf(stderr, "usage: check FOLDER\n");
        return 2;
    }
    try
    {
        const std::string ending = ".sidecar.json";
        std::vector<fs::path> found;
        for(const auto& entry : fs::directory_iterator(argv[1]))
        {
            const auto name = entry.path().filename().string();
            if(name.size() > ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0)
                found.push_back(entry.path());
        }
        std::sort(found.begin(), found.end());
        if(found.empty())
            throw std::runtime_error(std::string(argv[1]) + " holds no *.sidecar.json");
        bool good = true;
        for(const auto& path : found)
            good = check(path) && good;
        return good ? 0 : 1;
    }
    catch(const std::exception& error)
    {
        std::fprintf(stderr, "check: %s\n", error.what());
        return 1;
    }
}
